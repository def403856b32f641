"""The encoder driver: a model of the BERT family in an OS process of its own, which makes vectors of texts.

`launcher` is the kernel's end and free of torch; `worker` and what it imports live in the encoder's process only.
"""
