"""Detect the application in a folder from its files. Sources are parsed, never imported."""
