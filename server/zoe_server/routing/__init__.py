"""Which model answers? Pure functions over what is configured."""
