"""Tools that apps offer: who offers what, which calls are open, and whether arguments fit."""
