"""The command line: parses, calls the core once, renders."""
