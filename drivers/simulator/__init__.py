"""An engine without a model: the same port, exact bookkeeping, no arithmetic. For tests, and for sizes no machine
here has.
"""
