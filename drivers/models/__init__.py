"""Where models come from: registry packages, GGUF files, directories; and the cache of converted ones."""
