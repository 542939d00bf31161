"""The command line: parses the arguments, calls the core once, prints the result."""
