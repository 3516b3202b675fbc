"""The model test: the real services on virtual time, with every interleaving that a tape of bytes can ask for."""
