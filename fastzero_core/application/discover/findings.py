"""What was found: a value with its place and reason, or a question."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One key of fastzero.toml, below [application] but for `services.NAME`.

    `value` None: it is not known, and `question` asks for it; `choices` are likely answers. `active` False: the file
    gets it as a comment. `where` is a path in the folder, with a line where there is one.
    """

    key: str
    value: Any = None
    where: str = ""
    why: str = ""
    question: str = ""
    choices: tuple[str, ...] = ()
    active: bool = True

    @property
    def is_known(self) -> bool:
        return self.value is not None

    @property
    def is_written(self) -> bool:
        """Whether the file says it, and not a comment."""
        return self.is_known and self.active

    def answered(self, value: Any) -> "Finding":
        """Return the finding with a person's answer to its question."""
        return replace(self, value=value, why="your answer", where="", active=True)


@dataclass(frozen=True)
class Note:
    """What a person should know, and what to do about it."""

    text: str
    where: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Discovery:
    """Everything that a folder says. `findings` are in the order of the file."""

    folder: Path
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def questions(self) -> tuple[Finding, ...]:
        """What is not known, and has to be."""
        return tuple(each for each in self.findings if each.question and not each.is_known)

    def answered(self, key: str, value: Any) -> "Discovery":
        """Return the discovery with a person's answer to one of its questions."""
        found = tuple(each.answered(value) if each.key == key else each for each in self.findings)
        return replace(self, findings=found)
