"""What `scripts/faults.py` is made of: a ledger, clients, roads between them and the servers, and faults on purpose."""
