"""Programmatic Alembic: run, lock, status, lint."""
