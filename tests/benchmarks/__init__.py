"""What fastzero may cost, as ratios of medians measured in one run: `python -m tests.benchmarks`."""
