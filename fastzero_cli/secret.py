"""fastzero secret: change the secrets of a project."""

from typing import Annotated

import typer

from fastzero_core.errors import InvalidInputError

from .options import Run, Timeout
from .tree import Group

group = Group("secret", example="fastzero secret rotate")


@group.command(example="fastzero secret rotate\nfastzero secret rotate --database")
def rotate(
    run: Run,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Refuse every token of the old key at once: all users log in again.")
    ] = False,
    database: Annotated[
        bool, typer.Option("--database", help="Change the passwords of the database's roles instead.")
    ] = False,
    timeout: Timeout = None,
) -> None:
    """Sign tokens with a new key.

    The app goes on running. Tokens of the old key stay valid until they expire, and then the old key is refused.
    """
    if database and revoke:
        raise InvalidInputError("--revoke is about tokens, not about the database", field="revoke")
    if database:
        run.own_stack.rotate_database_passwords(timeout=timeout)
        run.render.verdict("The database's roles have new passwords", run.command("db url --password"))
        return
    until = run.stack.rotate_signing_key(revoke=revoke, timeout=timeout)
    if until is None:
        run.render.verdict("Tokens are signed with a new key", "tokens of the old key are refused")
    else:
        at = until.isoformat(timespec="seconds").replace("+00:00", "Z")
        run.render.verdict("Tokens are signed with a new key", f"tokens of the old key are accepted until {at}")
