"""Policies as code: files of rules, what they decide, and the tools of those who write them."""
