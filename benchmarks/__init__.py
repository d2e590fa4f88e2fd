"""Measurements of what the product exists for. `make bench` runs all of them, `make bench-quick` the shortest."""
