"""The kernel: mechanism. `core` is pure, `loop` performs its effects, `gate` is the entrance, `boot` wires it all."""
