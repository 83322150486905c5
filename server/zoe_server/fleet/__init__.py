"""Which engines run: started in order, watched, restarted, stopped together."""
