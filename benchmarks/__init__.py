"""Measures throughput and latency on the machine at hand; `attribution bench` runs it."""
