"""Top-level commands for a stack in a swarm: scale, rebalance."""

from typing import Annotated

import typer

from fastzero_core.errors import InvalidInputError

from .columns import DEPLOYED
from .options import Run, Timeout
from .tree import Group

group = Group("swarm")


@group.command(example="fastzero scale app=3\nfastzero scale web=5 worker=2")
def scale(
    run: Run,
    counts: Annotated[list[str], typer.Argument(metavar="SERVICE=N", help="A process, and its number of tasks.")],
    timeout: Timeout = None,
) -> None:
    """Run more or fewer tasks of a process in a swarm.

    The numbers are kept; the tasks that run already go on running.
    """
    wanted = dict(map(_count, counts))
    run.stack.scale(wanted, timeout=timeout)
    run.render.outcome(run.stack.status(), DEPLOYED, f"Project {run.stack.project.name} scaled", ", ".join(counts))


def _count(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdecimal() or not 0 < int(number) <= 1000:
        raise InvalidInputError(f"invalid number of tasks {text!r}", field="counts", hint="Write it as app=3")
    return name, int(number)


@group.command(example="fastzero rebalance")
def rebalance(run: Run, timeout: Timeout = None) -> None:
    """Spread the tasks over the nodes of a swarm again.

    As after a node came back: a swarm does not move tasks that run. Each task is replaced once its successor is ready.
    """
    uneven = run.stack.rebalance(timeout=timeout)
    name = run.stack.project.name
    run.render.outcome(
        run.stack.status(),
        DEPLOYED,
        f"Project {name} spread again" if uneven else f"Project {name} is spread evenly",
        *([", ".join(uneven)] if uneven else ["nothing to do"]),
    )
