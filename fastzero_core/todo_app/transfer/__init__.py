"""Todos in files of other programs: `files` reads and writes them, by a module for each format."""
