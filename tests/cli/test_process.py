"""A command as a process: it looks for no garbage in what it imports, and ends at once."""

import subprocess
import sys

PROGRAM = """
import atexit, gc, sys
from fastzero_cli.__main__ import run
sys.argv = ["fastzero", *sys.argv[1:]]

class Module:
    def __del__(self):
        print("taken apart")

kept = Module()
kept.itself = kept
gc.callbacks.append(lambda phase, info: print("looked for garbage"))
sys.exit(run())
"""
LEAVING = """
import atexit, sys
from fastzero_cli import __main__, main
main.main = lambda: atexit.register(print, "left tidily") and print("worked") or {code}
sys.exit(__main__.run())
"""


def output(program: str, *words: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_what_was_imported_is_neither_looked_through_nor_taken_apart() -> None:
    said = output(PROGRAM, "config")
    assert said
    assert {"looked for garbage", "taken apart"} & {*said} == set()


def test_what_a_command_registered_for_the_end_runs() -> None:
    assert output(LEAVING.format(code=0)) == ["worked", "left tidily"]


def test_the_process_ends_with_the_code_of_its_command() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING.format(code=7)], capture_output=True)
    assert done.returncode == 7
