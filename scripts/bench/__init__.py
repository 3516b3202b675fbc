"""What scripts/benchmark.py is made of: a load, the servers that it is put on, what is measured, and the report."""
