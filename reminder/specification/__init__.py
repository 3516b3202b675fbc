"""The protocol as data: what clients may send, what they get, and the limits. Documents are made from it."""
