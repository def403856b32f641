"""What outlives processes and daemons: one SQLite database a home, and what is kept in it."""
