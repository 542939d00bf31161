"""What a folder says about the application in it. Sources are parsed, never imported."""
