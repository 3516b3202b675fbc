"""The rules: pure functions of what they are given, without I/O libraries and without a clock."""
