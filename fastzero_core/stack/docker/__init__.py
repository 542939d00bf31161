"""The docker runtime: services as containers."""
