"""Benchmarks of Zoe's own promises; `./scripts/bench/run` starts them."""
