"""Measurements of what the service needs: time per stage, memory, steadiness. Run `make bench`."""
