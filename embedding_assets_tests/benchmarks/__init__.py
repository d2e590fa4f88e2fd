"""The parts of the benchmarks that judge and tell."""
