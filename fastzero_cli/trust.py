"""fastzero trust: show what the files in this folder could do, and record the user's consent."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .columns import RISKY
from .layout import escaped
from .options import Run, Yes
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core.trust import FolderTrust
    from fastzero_core.trust_record import RiskySetting

group = Group("trust")
STATES = {"trusted": "is trusted", "untrusted": "is not trusted", "changed": "has changed since you trusted it"}


@group.command(example="fastzero trust\nfastzero trust --show\nfastzero trust --revoke")
def trust(
    run: Run,
    show: Annotated[bool, typer.Option("--show", help="Show the settings and whether they are trusted.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Stop trusting this folder.")] = False,
    yes: Yes = False,
) -> None:
    """Trust the settings in this folder's files that could do harm.

    These are settings in .env and fastzero.toml that run programs, or move or expose data. They are refused until you
    trust the folder, and again after one of them has changed. Set FASTZERO_TRUST=1 in the environment to trust every
    folder, as in CI.
    """
    from fastzero_core.settings import folder_trust

    if revoke:
        _revoke(run)
        return
    found = folder_trust()
    if not show and found.settings and found.state != "trusted":
        if not yes:
            run.render.review(_review(found))
        run.confirm(f"Trust these settings of {escaped(found.real_path)}?", yes)
        found.give()
    _show(run, found)


def _revoke(run: Run) -> None:
    from fastzero_core.trust_record import revoke

    revoked = revoke(Path())
    run.render.message("This folder is not trusted any more." if revoked else "This folder was not trusted.")


def _show(run: Run, found: "FolderTrust") -> None:
    if not found.settings:
        run.render.message("Nothing in this folder needs trust.")
    match run.render.output:
        case "json":
            run.render.object(_document(found))
        case "table":
            run.render.text(_review(found) if found.settings else "")
        case _:
            run.render.many(found.settings, RISKY, none="")


def _document(found: "FolderTrust") -> dict[str, Any]:
    from fastzero_core.formats import as_dict

    return {
        "folder": found.real_path,
        "state": found.state,
        "trusted": found.is_given,
        "settings": [as_dict(each) for each in found.settings],
        "removed": list(found.removed),
    }


def _review(found: "FolderTrust") -> str:
    """Return all settings in full, since a table would cut long values off."""
    removed = [f"removed: {escaped(name)}\n" for name in found.removed]
    heading = f"Folder {escaped(found.real_path)} {STATES[found.state]}.\n"
    return "\n".join([heading, *map(_block, found.settings), *removed])


def _block(setting: "RiskySetting") -> str:
    before = " or ".join(map(_literal, setting.before))
    change = {"": "", "new": "  (new)", "changed": f"  (changed, was {before})"}[setting.change]
    return f"{setting.where}  {setting.name} = {_literal(setting.value)}{change}\n    {setting.risk}.\n"


def _literal(value: Any) -> str:
    return escaped(json.dumps(value, ensure_ascii=False, default=str))
