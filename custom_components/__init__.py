"""Integrations of Home Assistant; the product is `zoe`."""
