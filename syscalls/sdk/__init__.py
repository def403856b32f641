"""The SDK: processes as Python objects, blocking and async, over one implementation of the protocol."""
