"""The edge of recontour: HTTP, queue, probes, metrics."""
