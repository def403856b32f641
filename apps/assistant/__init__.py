"""An assistant in the terminal: it talks, uses tools, remembers, tries alternatives, and goes on after a restart."""
