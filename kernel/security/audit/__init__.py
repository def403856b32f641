"""The audit log: what was done by whom, in a chain that shows whether anything of it was changed afterwards."""
