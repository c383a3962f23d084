"""Downstream runs: a classifier trained, tested once, and judged."""
