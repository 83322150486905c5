"""Zoe: a private voice brain for Home Assistant."""
