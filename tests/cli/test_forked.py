"""What tests.forked gives instead of a started process is one in all that a test can see."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

from .shell import SCRIPT, Terminal


def both(words: list[str], text: str) -> list[tuple[int, str, str]]:
    """What the same command says forked, and started."""
    environment = {**os.environ, "PYTHONHASHSEED": "1"}  # another start of Python
    runs = [forked.run(words, capture_output=True, text=True, env=env, input=text) for env in (None, environment)]
    return [(run.returncode, run.stdout, run.stderr) for run in runs]


@pytest.mark.parametrize(
    "words",
    [
        [SCRIPT, "todo", "list"],
        [SCRIPT, "version", "-o", "json"],
        [sys.executable, "-m", "fastzero_cli", "nothing"],
        [sys.executable, "-c", "import sys; print(sys.argv, sys.stdin.read()); sys.exit(5)", "one", "two"],
        [sys.executable, "-c", "import sys; sys.exit('a message')"],
        [
            sys.executable,
            "-c",
            "import sys; print([(s.encoding, s.errors, s.isatty()) for s in (sys.stdin, sys.stdout)])",
        ],
    ],
)
def test_it_answers_as_one_that_was_started(words: list[str]) -> None:
    forked_one, started = both(words, "what it reads")
    assert forked_one == started


def test_its_folder_and_its_variables_are_its_own(folder: Path) -> None:
    code = "import os; print(os.getcwd(), os.environ['COLOUR'], len(os.environ))"
    environment = {**os.environ, "COLOUR": "red"}
    run = forked.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.stdout.split() == [str(folder), "red", str(len(environment))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(number: signal.Signals) -> None:
    code = "import time; print('here', flush=True); time.sleep(1000)"
    words = [sys.executable, "-c", code]
    with forked.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) == -number


def test_one_that_takes_too_long_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run([sys.executable, "-c", "import time; time.sleep(1000)"], timeout=0.2)


def test_a_terminal_is_its_own() -> None:
    code = (
        "import sys, os; print(os.ttyname(0) == os.ttyname(1), open('/dev/tty').isatty(), os.getsid(0) == os.getpid())"
    )
    with Terminal("-c", code, program=sys.executable) as terminal:
        assert terminal.end().out == "True True True\n"


def test_other_programs_are_started() -> None:
    assert forked.run(["echo", "said"], capture_output=True, text=True).stdout == "said\n"
