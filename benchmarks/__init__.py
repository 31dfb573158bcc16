"""Measurements of the project's speed, each a command that leaves its record in reports/benchmarks."""
