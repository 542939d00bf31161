"""Record the user's trust in a folder: in the settings in its files that could run programs, or move or expose data.

Trust covers exactly what was read and shown: one SHA-256 of the folder's real path and of each such setting with its
value. Any change requires trust again. The record is in the user's state folder, whose location the folder's files
cannot change.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from .config_files import Folder
from .errors import UntrustedFolderError
from .files import path_as_text

if TYPE_CHECKING:
    from .trust_record import RiskySetting, TrustRecord

VARIABLE = "FASTZERO_TRUST"  # read only from the environment

State = Literal["trusted", "untrusted", "changed"]
Change = Literal["", "new", "changed"]
T = TypeVar("T")


class _Free:
    """Marks a setting that the files of any folder may set."""


Free = Annotated[T, _Free()]


@dataclass(frozen=True)
class Risk:
    """Describes what a folder could do with a setting, or with one key of a setting that is a table."""

    text: str
    of_key: Callable[[str], str] | None = None


UNKNOWN_RISK = Risk("It changes what fastzero does")


def risk_of(metadata: Iterable[object]) -> Risk | None:
    """Return the risk of a setting with this metadata; None if any folder may set it."""
    marks = list(metadata)
    if any(isinstance(mark, _Free) for mark in marks):
        return None
    return next((mark for mark in marks if isinstance(mark, Risk)), UNKNOWN_RISK)


def digest(*parts: Any) -> str:
    """Return the SHA-256, in hex, of values of JSON and TOML types."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class FolderTrust:
    """The settings of a folder that require trust, as they were read, and whether the user trusts them."""

    def __init__(self, folder: Folder, settings: "Iterable[RiskySetting]") -> None:
        self.folder = folder
        self._found = tuple(settings)

    @cached_property
    def real_path(self) -> str:
        """The folder's path with all links resolved."""
        return os.path.realpath(self.folder.path)

    @property
    def is_given(self) -> bool:
        """Whether all settings may be used: none requires trust, the user trusts them, or FASTZERO_TRUST is set."""
        return not self._found or _trusts_all() or self.state == "trusted"

    @property
    def state(self) -> State:
        """Whether the user trusts exactly these settings, none, or different ones."""
        if self._record is None:
            return "untrusted"
        return "trusted" if self._record.sha256 == self._sha256 else "changed"

    @cached_property
    def settings(self) -> "tuple[RiskySetting, ...]":
        """Every setting that requires trust, in the order of the files."""
        return tuple(self._compared(each) for each in self._found)

    @property
    def removed(self) -> tuple[str, ...]:
        """The names of settings that were trusted and are no longer in the files."""
        before = self._record.settings if self._record else {}
        return tuple(sorted(before.keys() - {each.name for each in self._found}))

    def require(self, *names: str) -> None:
        """Raise UntrustedFolderError unless these settings or tables may be used. The error names each of them."""
        wanted = [each for each in self._found if each.top in names]
        if wanted and not self.is_given:
            raise UntrustedFolderError(self._refusal(wanted))

    def give(self) -> None:
        """Record that the user trusts the folder with exactly these settings."""
        settings: dict[str, dict[str, Any]] = {}
        for each in self._found:
            settings.setdefault(each.name, {})[each.sha256] = each.value
        from . import trust_record

        trust_record.write(self.real_path, self._sha256, settings)
        self._record = trust_record.read(self.real_path)

    @cached_property
    def _sha256(self) -> str:
        return digest(path_as_text(self.real_path), sorted(each.sha256 for each in self._found))

    @cached_property
    def _record(self) -> "TrustRecord | None":
        from .trust_record import read  # few folders have settings that require trust

        return read(self.real_path)

    def _compared(self, setting: "RiskySetting") -> "RiskySetting":
        """Return the setting with its change since the user trusted the folder."""
        before = self._record.settings.get(setting.name, {}) if self._record else {setting.sha256: None}
        if setting.sha256 in before:
            return setting
        return replace(setting, change="changed" if before else "new", before=list(before.values()))

    def _refusal(self, wanted: "list[RiskySetting]") -> str:
        named = ", ".join(f"{each.name} ({each.where})" for each in wanted)
        if self.state == "untrusted":
            return f"this folder is not trusted, and sets {named}"
        changed = [f"{each.name} ({each.where})" for each in self.settings if each.change] + list(self.removed)
        return f"this folder sets {named}, and has changed since you trusted it: {', '.join(changed)}"


def _trusts_all() -> bool:
    return os.environ.get(VARIABLE, "").lower() in ("1", "true", "yes", "on")
