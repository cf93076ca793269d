"""Training of the networks that the service runs; the only place that knows torch."""
