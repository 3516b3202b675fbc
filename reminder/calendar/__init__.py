"""Calendars (RFC 5545) of what is kept: VEVENTs that other programs read, from files and from the feed."""
