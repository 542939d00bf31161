"""Results of a discovery: values with their source and reason, questions and notes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One key of fastzero.toml, below [application] except for `services.NAME`.

    If `value` is None, it is unknown and `question` asks for it; `choices` are likely answers. If `active` is false,
    the key is written as a comment. `where` is a path in the folder, with a line number if it is known.
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
        """Whether fastzero.toml gets the key itself and not only a comment."""
        return self.is_known and self.active

    def answered(self, value: Any) -> "Finding":
        """Return the finding with the user's answer to its question."""
        return replace(self, value=value, why="your answer", where="", active=True)


@dataclass(frozen=True)
class Note:
    """Something that the user should know, and a remedy."""

    text: str
    where: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Discovery:
    """Everything that was found in a folder. `findings` are in the order of the keys in fastzero.toml."""

    folder: Path
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def questions(self) -> tuple[Finding, ...]:
        """The findings that need an answer: their value is required, but unknown."""
        return tuple(each for each in self.findings if each.question and not each.is_known)

    def answered(self, key: str, value: Any) -> "Discovery":
        """Return the discovery with the user's answer to one of its questions."""
        found = tuple(each.answered(value) if each.key == key else each for each in self.findings)
        return replace(self, findings=found)
