"""Attacks on a real server, while a canary (`canary.py`) watches that a well-behaved client notices nothing.

`raw.py` is what attackers are made of; an attack is a public function of `frames.py`, `packets.py`, `hypertext.py`,
`commands.py`, `changes.py`, `crowds.py` or `streams.py` that takes a `Target`, lasts a second or two and leaves what it
has opened to the target.
`fortress.py` is the server under attack and what can be measured of it. `test_hostile.py` brings them together.
"""
