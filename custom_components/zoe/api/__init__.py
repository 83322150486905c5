"""The server: its HTTP API, what it says about itself, and how it fails. Nothing else here speaks HTTP."""
