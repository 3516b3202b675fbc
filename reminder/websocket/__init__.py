"""The Socket.IO door: frames, transports, Engine.IO, Socket.IO, and the readers of the log behind it."""
