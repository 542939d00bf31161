"""Runs the blocks of a page in their order, in one shell, as a reader would type them, and compares what it shows.

`sh`       commands; the first that fails ends the page
`console`  commands after `$ ` and what they print: what is shown is compared. A command that shows an `Error:` fails,
           every other one succeeds. `…` stands for any text, alone on a line for any number of lines
`python`   a program, or a file where the block has a title, as any other block with a title

Figures that differ from run to run are the same to the comparison: durations, times, ports, process ids, hashes, sizes.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .pages import Block, Page

PATIENCE = 1200  # seconds until a page that hangs is given up
SHOWN = ("text", "json", "toml", "yaml", "dockerfile", "mermaid", "sql", "ini")  # never run: to be read, or files

# A reader's app has port 8000; here it may be taken by another test.
_PRELUDE = """
set -euo pipefail
export FASTZERO_OUTPUT=table FASTZERO_COLOR=never COLUMNS=110
destroy() { fastzero down --all --volumes --yes --no-backup >/dev/null 2>&1 || echo "nothing to destroy"; }
trap destroy EXIT
app() { fastzero status -o json | python -c '
import json, sys
print(next((s["address"] for s in json.load(sys.stdin) if s["service"] in ("app", "web")), "localhost:8000"))'; }
curl() { command curl "${@//localhost:8000/$(app)}"; }
"""
_OWN_PROJECT = "env -u FASTZERO_DATABASE_PORT -u FASTZERO_APP_PORT"  # a program's project is not that of the page
_FIGURES = (
    (re.compile(r"\(\d+\.\d+ s\)"), "(N s)"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min|h)\b"), "N s"),
    (re.compile(r"\bnow\b"), "N s"),
    (re.compile(r"\bfastzero \d+\.\d+\.\d+\b"), "fastzero VERSION"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?"), "TIME"),
    (re.compile(r"\b\d{8}T?-?\d{6}Z?\b"), "TIME"),
    (re.compile(r"(127\.0\.0\.1|localhost):\d+"), "HOST:PORT"),
    (re.compile(r"\b\d+(\.\d+)? ([KMG]i?B|bytes)\b"), "N B"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "HASH"),
    (re.compile(r"/\S*/(fastzero|work)(?=/|\s|$)"), "HOME"),
    (re.compile(r"(?<=\s)\d{3,7}(?=\s)"), "PID"),
)


@dataclass(frozen=True)
class Step:
    """One command of a page, or one block: what it runs and what it has to print, None where nothing is shown."""

    line: int
    command: str
    shown: str | None = None
    checked: bool = True  # the first command that fails ends it


class PageFailed(AssertionError):
    """A command that failed, or that printed something else than the page shows."""


def run(page: Page, folder: Path, environment: dict[str, str]) -> None:
    """Run a page in an empty folder. Raises PageFailed."""
    outputs = folder / "outputs"
    outputs.mkdir()
    work = folder / "work"
    work.mkdir(exist_ok=True)
    steps = list(_steps(page, outputs))
    script = _PRELUDE + "\n".join(_script(step, outputs / str(number)) for number, step in enumerate(steps))
    process = subprocess.run(
        ["bash", "-c", script],
        cwd=work,
        env={**os.environ, **environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    _check(page, steps, outputs, process)


def blocks_to_run(page: Page) -> list[Block]:
    return [block for block in page.blocks if not block.not_run and (block.title or block.language not in SHOWN)]


def _steps(page: Page, outputs: Path) -> Iterator[Step]:
    for number, block in enumerate(blocks_to_run(page)):
        match block:
            case Block(title=str(title)):
                yield _file(block, title, outputs / f"file-{number}")
            case Block(language="sh"):
                yield Step(block.line, block.text)
            case Block(language="python"):
                path = outputs / f"{number}.py"
                path.write_text(block.text, encoding="utf-8")
                yield Step(block.line, f"{_OWN_PROJECT} python -W error {shlex.quote(str(path))}")
            case Block(language="console"):
                yield from _commands(block)
            case _:
                raise PageFailed(f"{page.name}:{block.line}: unknown language {block.language!r}")


def _file(block: Block, title: str, copy: Path) -> Step:
    copy.write_text(block.text, encoding="utf-8")
    target = shlex.quote(title)
    return Step(block.line, f'mkdir -p "$(dirname {target})" && cp {shlex.quote(str(copy))} {target}')


def _commands(block: Block) -> Iterator[Step]:
    line, command, shown = block.line, "", ""
    for number, text in enumerate(block.text.splitlines(), block.line + 1):
        if text.startswith("$ "):
            if command:
                yield Step(line, command, shown or None, checked=False)
            line, command, shown = number, text.removeprefix("$ "), ""
        elif text.startswith("> ") and not shown:
            command += f"\n{text.removeprefix('> ')}"
        else:
            shown += f"{text}\n"
    yield Step(line, command, shown or None, checked=False)


def _script(step: Step, output: Path) -> str:
    quoted = shlex.quote(str(output))
    if step.checked:
        return f"echo 1 >{quoted}.code\n{{\n{step.command}\n}} >{quoted} 2>&1\necho 0 >{quoted}.code"
    # As in a shell of a person: what fails before a pipe is seen in what it prints.
    command = f"set +o pipefail\ncode=0; {{\n{step.command}\n}} >{quoted} 2>&1 || code=$?"
    return f"{command}; echo $code >{quoted}.code\nset -o pipefail"


def _check(page: Page, steps: list[Step], outputs: Path, process: "subprocess.CompletedProcess[str]") -> None:
    """Raise PageFailed with every step that went wrong."""
    failures = [
        f"docs/{page.language}/{page.name}.md:{step.line}: {wrong}\n$ {step.command}"
        for number, step in enumerate(steps)
        if (wrong := _wrong(step, outputs / str(number)))
    ]
    if failures:
        raise PageFailed("\n".join([*failures, process.stdout, process.stderr]))


def _wrong(step: Step, output: Path) -> str:
    """What went wrong with a step, "" if nothing did."""
    code = output.with_suffix(".code")
    if not code.exists():
        return "never run"
    said = output.read_text(encoding="utf-8", errors="replace")
    fails = bool(step.shown and re.search(r"^Error: ", step.shown, re.MULTILINE))
    if (int(code.read_text()) != 0) != fails:
        return f"exit code {code.read_text().strip()}\n{said}"
    if step.shown and not matches(step.shown, said):
        return f"shown\n{step.shown}printed\n{said}"
    return ""


def matches(shown: str, said: str) -> bool:
    """Whether a command printed what the page shows, but for figures and what `…` stands for."""
    lines = _normal(shown).splitlines()
    pattern = "".join("(?:.*\n)*" if line == "…" else f"{re.escape(line).replace('…', '.*')}\n" for line in lines)
    return re.fullmatch(pattern, _normal(said)) is not None


def _normal(text: str) -> str:
    for pattern, name in _FIGURES:
        text = pattern.sub(name, text)
    return "".join(f"{re.sub(' +', ' ', line).rstrip()}\n" for line in text.strip("\n").splitlines())
