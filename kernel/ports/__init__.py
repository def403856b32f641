"""What the kernel needs from outside, as small protocols and the messages that cross them."""
