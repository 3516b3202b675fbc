"""What `scripts/soak.py` is made of: what hostile clients send, who sends it, and who watches the server meanwhile."""
