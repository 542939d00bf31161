"""fastzero db status, failover: the servers of a database with standbys."""

from typing import Annotated

import typer

from . import completion
from .columns import SERVER
from .options import Run, Timeout
from .tree import Group

group = Group("servers")


@group.command(example="fastzero db status\nfastzero db status -o json")
def status(run: Run) -> None:
    """Show the servers of a database with standbys.

    Role, state, timeline, and how many bytes a standby lacks. A commit waits for one that confirms it.
    """
    state = run.own_stack.servers()
    run.render.many(state.nodes, SERVER)
    if state.problem:
        run.render.warning(state.problem)


@group.command(example="fastzero db failover\nfastzero db failover --to database-2")
def failover(
    run: Run,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="SERVER", help="This standby; the best without it.", autocompletion=completion.servers
        ),
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Make a standby the primary. Writes stop for a few seconds, and none is lost.

    As before a node is shut down. If a node is lost, a standby takes over by itself.
    """
    stack = run.own_stack
    primary = stack.fail_over(to, timeout=timeout)
    run.render.outcome(stack.servers().nodes, SERVER, f"{primary} is the primary")
