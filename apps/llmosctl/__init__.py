"""llmosctl: the command line for people and scripts. Knows the SDK and nothing else of llmos."""
