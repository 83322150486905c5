"""How zoe-nano and the random models for tests are made; nothing here runs while serving."""
