"""Messages between the gate and their store: batches, those who wait for messages or for room, and topics."""
