"""Text to tokens and back, from a model's own tokenizer and chat template; without torch and transformers."""
