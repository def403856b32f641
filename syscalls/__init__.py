"""The boundary: message types, error numbers, wire codec and the SDK."""
