"""A reminder server for Socket.IO clients: events are a log, and every connection reads it from its own place."""

__version__ = '1.0.0'
