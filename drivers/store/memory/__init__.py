"""Long-term memory in one SQLite database, with vector indexes beside it that are made from it."""
