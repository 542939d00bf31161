"""The text of the project uses plain technical English: the words below have a plainer one."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Rooms whose text still has such words. Remove a room once its text is rewritten; never add one.
NOT_YET_REWRITTEN = (
    "fastzero_cli",
    "fastzero_core/application",
    "fastzero_core/stack",
    "CHANGELOG.md",
)

# A word, as a regular expression without groups, and what to write instead. Parts of names between underscores count.
PLAINER = {
    r"anew|afresh": "again",
    r"beforehand": "before, first",
    r"(?<!is_)behind(?! (?:a|the) (?:reverse )?(?:proxy|load balancer))": "after, below, later than",
    r"bring(?:s|ing)?|brought": "restore, migrate, start, move",
    r"excuses?": "reason, exception",
    r"for ever": "forever, without a limit",
    r"(?:is|are|was|were) no(?= (?!longer|more))": "does not exist, is not a",
    r"last gasp|last_gasp": "final, last attempt",
    r"meanwhile": "during it, until then, at the same time",
    r"nobody|no one": "no user, no other session, no process: negate the verb",
    r"patient(?:ly)?": "wait, retry",
    r"settle[sd]?|settling": "decide, finish, wait for",
    r"shelf|shelves": "folder, repository",
    r"to be had|be had in time": "timed out waiting for, not available",
    r"whom": "the user, the role; as a name: user, owner",
    r"whose(?= ?[=:])": "owner, user",
}
WORD = re.compile(rf"(?<![a-z])(?:{'|'.join(f'({word})' for word in PLAINER)})(?![a-z])", re.IGNORECASE)
ADVICE = ("", *PLAINER.values())  # by the number of a word's group

SUFFIXES = {".py", ".md", ".mako", ".template", ".json", ""}
BUILT = ROOT / "fastzero_core" / "manual"  # made from the others
PLACES = (
    "fastzero_cli",
    "fastzero_core",
    "migrations",
    "docker",
    "docs",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)


def _files() -> Iterator[Path]:
    for place in map(ROOT.joinpath, PLACES):
        paths = place.rglob("*") if place.is_dir() else [place]
        yield from (path for path in paths if path.is_file() and path.suffix in SUFFIXES and BUILT not in path.parents)


def _room(path: Path) -> str:
    """Return the room of a file: a document, a package, or a package of fastzero_core."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "fastzero_core":
        return "/".join(parts[:2] if len(parts) > 2 else parts[:1])
    return parts[0]


def _found(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    for match in WORD.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        yield f"{path.relative_to(ROOT)}:{number}: {match[0]!r}; plainer: {ADVICE[match.lastindex or 0]}"


@cache
def _rooms() -> dict[str, list[str]]:
    rooms: dict[str, list[str]] = {}
    for path in sorted(_files()):
        rooms.setdefault(_room(path), []).extend(_found(path))
    return rooms


def test_rewritten_rooms_use_plain_words() -> None:
    found = [line for room, lines in _rooms().items() if room not in NOT_YET_REWRITTEN for line in lines]

    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize("room", NOT_YET_REWRITTEN)
def test_a_room_that_uses_plain_words_is_not_excepted(room: str) -> None:
    assert _rooms()[room], f"{room} is rewritten: remove it from NOT_YET_REWRITTEN"


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("wait for every lock", True),
        ("no longer", True),
        ("it runs behind a reverse proxy", True),
        ("the table is no longer used", True),
        ("waits for ever", False),
        ("LAST_GASP = 5", False),
        ("def _has_no_excuse() -> None", False),
        ("the backup's shelf", False),
        ("Nobody can write", False),
        ("'x' is no id", False),
    ],
)
def test_the_word_list_finds_words_and_parts_of_names(text: str, is_plain: bool) -> None:
    assert is_plain is (WORD.search(text) is None)
