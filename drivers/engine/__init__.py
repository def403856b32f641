"""The engine driver: one model on one device in an OS process of its own, run by plans.

`launcher` is the kernel's end and free of torch; `worker` and what it imports live in the engine's process
only.
"""
