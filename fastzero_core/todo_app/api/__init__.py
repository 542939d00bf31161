"""The web app: FastAPI over the same operations as the command line. `app` makes it, `server` serves it."""
