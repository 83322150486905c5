"""The demo: `zoe serve` and a real Home Assistant with a home of 20 virtual devices, in processes that end with it."""
