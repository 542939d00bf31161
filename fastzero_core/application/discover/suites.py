"""Find out how the application's tests are run."""

import os
import re
from collections.abc import Iterator

from ..sources import Sources
from .findings import Finding

_FILE = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|tests)\.py$")
_UNITTEST = re.compile(r"^(import|from) unittest\b", re.MULTILINE)


def suite(sources: Sources, directory: str, *, has_pytest: bool) -> Finding | None:
    """Return the command, None if plain `pytest` in the directory is right or if tests do not exist."""
    files = [path for path in sources.files if _FILE.search(path)]
    inside = [path for path in files if not directory or path.startswith(f"{directory}/")]
    outside = next((path for path in files if path.startswith(("tests/", "test/"))), None)
    if has_pytest and outside and not inside:
        folder = os.path.relpath(outside.partition("/")[0], directory)
        return Finding("test", f"pytest {folder}", outside, "the tests are outside of the directory")
    if has_pytest:
        return None
    if directory == "" and any("DJANGO_SETTINGS_MODULE" in sources.text(path) for path in sources.named("manage.py")):
        return Finding("test", "python manage.py test", "manage.py", "Django's own tests")
    return next(_by_unittest(sources, inside), None)


def _by_unittest(sources: Sources, paths: list[str]) -> Iterator[Finding]:
    for path in paths:
        if _UNITTEST.search(sources.text(path)):
            yield Finding("test", "python -m unittest", path, "pytest is not among the dependencies")
