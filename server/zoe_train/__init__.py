"""How zoe-nano and the classifiers of `zoe_server.routing` are made; nothing here runs while serving."""
