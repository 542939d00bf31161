"""Configure Alembic as a library, and translate its errors to FastZeroErrors."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

from ..errors import FastZeroError, InvalidInputError, RevisionNotFoundError, SchemaOutdatedError
from . import revisions

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory


def config() -> "Config":
    from alembic.config import Config

    made = Config(stdout=StringIO())
    made.set_main_option("script_location", str(revisions.folder()).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    return made


def scripts() -> "ScriptDirectory":
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(config())


@contextmanager
def alembic_errors() -> Iterator[None]:
    from alembic.script.revision import ResolutionError
    from alembic.util import CommandError

    try:
        yield
    except FastZeroError:
        raise
    except (CommandError, ResolutionError) as error:
        text = str(error)
        if "locate revision" in text or "No such revision" in text or "walked too far" in text:
            raise RevisionNotFoundError(text) from error
        if "not up to date" in text:
            raise SchemaOutdatedError("the database is not at head") from error
        raise InvalidInputError(text) from error
