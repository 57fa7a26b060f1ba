"""Measure the installed service against a market at Vast's documented pace: `python -m tests.bench`."""
