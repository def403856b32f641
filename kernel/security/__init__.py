"""Security: who calls, what they may, and what they did."""
