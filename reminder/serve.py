"""Runs the server in this process until a signal ends it. The launcher that calls it has patched the standard library."""
