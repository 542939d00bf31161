"""The web app: FastAPI on the same operations as the command line. `app` creates it, `server` serves it."""
