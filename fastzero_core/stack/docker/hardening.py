"""What the containers may do and use, the same under the engine and in an exported compose.yaml."""

APP_USER = "10001:10001"
TMPFS = {"/tmp": "size=64m,mode=1777"}  # noqa: S108 - inside the container, whose root is read-only
DATABASE_SHM = "256m"


def app_memory(workers: int) -> int:
    """Bytes: each worker may hash two passwords at once, at 64 MiB each."""
    return 256 * 2**20 * (1 + workers)


def app_pids(workers: int) -> int:
    """Processes and threads."""
    return 128 * (1 + workers)


def app_cpus(workers: int, present: int | None) -> float:
    """One for each worker, of those that are there: an engine refuses a limit beyond."""
    return float(min(workers, present or workers))
