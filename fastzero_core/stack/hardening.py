"""What the containers may do and use, the same under the engine and in an exported compose.yaml."""

APP_USER = "10001:10001"
APP_MEMORY = "512m"
APP_CPUS = 1.0
APP_PIDS = 256
TMPFS = {"/tmp": "size=64m,mode=1777"}  # noqa: S108 - inside the container, whose root is read-only
DATABASE_SHM = "256m"
