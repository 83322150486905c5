"""What the server counts and measures: one table of metrics, as Prometheus text and as JSON."""
