"""What drivers have in common whose work is done in OS processes of their own: the channel, and how it begins and ends.

It is no driver and knows none: drivers may import it, it may import none of them.
"""
