"""Faults at random moments, for longer than a suite may take: `python -m tests.faults`."""
