"""Find the Redis that workers need, also where no Compose file has one."""

import re
from collections.abc import Iterator
from typing import Any

from ..commands import split
from ..sources import Sources
from .findings import Finding
from .objects import is_source

# Celery reads these variables before the arguments of its objects, so that they replace an address in the code.
_CELERY = {
    "CELERY_BROKER_URL": re.compile(r"broker(?:_url)?\s*=\s*[\"']redis://[^\"'/]*(/\d+)?"),
    "CELERY_RESULT_BACKEND": re.compile(r"backend(?:_url)?\s*=\s*[\"']redis://[^\"'/]*(/\d+)?"),
}
_RQ = ("rq", "rqworker")
_URL_OPTIONS = {"-u", "--url", "-c", "--config"}


def brokers(sources: Sources, workers: list[Finding], kind: str) -> Iterator[Finding]:
    """Yield Redis or Valkey, as `kind` says, and the variables of its address that the workers' programs read."""
    address = f"redis://{{service:{kind}:host}}:{{service:{kind}:port}}"
    for worker in workers:
        words = _words(worker.value)
        program = words[0].rpartition("/")[2] if words else ""
        if program == "celery":
            variables = dict(_of_celery(sources))
        elif program in _RQ and not {*words} & _URL_OPTIONS:
            variables = {"RQ_REDIS_URL": ("/0", worker.where)}
        else:
            variables = {}
        if variables or program in (*_RQ, "arq"):
            yield Finding(f"services.{kind}", {}, worker.where, f"{program} needs it")
        for name, (number, where) in variables.items():
            yield Finding(f"environment.{name}", f"{address}{number}", where, f"where {program} finds {kind}")


def _words(command: Any) -> list[str]:
    try:
        return split(str(command))
    except ValueError:
        return []


def _of_celery(sources: Sources) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the variables for addresses of Redis that the code has itself, each with its database and its place."""
    for path in filter(is_source, sources.files):
        text = sources.text(path)
        for name, pattern in _CELERY.items() if "elery" in text else ():
            if match := pattern.search(text):
                line = text.count("\n", 0, match.start()) + 1
                yield name, (match[1] or "/0", f"{path}:{line}")
