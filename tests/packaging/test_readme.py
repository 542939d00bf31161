"""What the README shows is run, and its links lead somewhere. Most of what it had is in the manual: tests/manual."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
SET_UP = "python3 -m venv"  # makes an environment: what continuous integration does with it


def _blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language and not text.startswith(SET_UP)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_it_fits_two_screens() -> None:
    assert len(TEXT.splitlines()) <= 100


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    assert len(links) >= 30
    assert [link for link in links if not (README.parent / link).is_file()] == []


def test_the_shell_examples_run_one_after_the_other(folder: Path) -> None:
    examples = "\n".join(_blocks("sh"))
    assert "fastzero up" in examples
    script = f"set -euo pipefail\n{examples}\nfastzero down --volumes --yes\n"
    run = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=_environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert run.returncode == 0, run.stderr
    assert "Write the report" in run.stdout


@pytest.mark.parametrize("program", _blocks("python"))
def test_the_python_examples_run_as_they_are(program: str, folder: Path) -> None:
    clean_up = "\nStack('demo').down(volumes=True)\n"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program + clean_up], cwd=folder, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def test_the_python_example_of_the_library_is_the_same_as_the_readme_s() -> None:
    import fastzero_core

    assert "with FastZero(stack.database_url) as fz:" in (fastzero_core.__doc__ or "")
