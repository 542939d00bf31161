"""The embedded runtime: services as local processes."""
