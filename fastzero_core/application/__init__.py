"""Describe the user's application: read fastzero.toml, detect an application in a folder, compute its environment."""
