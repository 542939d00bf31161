"""What a press of Tab offers, through the very protocols that the shells' scripts speak."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from fastzero_core import FastZero, NewTodo, User
from fastzero_core.project import Project, ProjectRecord

from ..revisions import REVISIONS
from .conftest import Run
from .shell import SCRIPT, Result, Terminal, script, search_path, shell
from .tree import COMMANDS

pytestmark = pytest.mark.slow

SHELLS = ["bash", "zsh", "fish", "powershell"]


class Complete(Protocol):
    def __call__(self, line: str, shell: str = "fish") -> dict[str, str]: ...


@pytest.fixture
def complete(fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """What may follow the line, with the help that stands beside it."""

    def ask(line: str, shell: str = "fish") -> dict[str, str]:
        with monkeypatch.context() as patch:
            for name, value in _request(line, shell).items():
                patch.setenv(name, value)
            result = fastzero()
        assert result.err == ""
        return _offers(result.out, shell)

    return ask


def _request(line: str, shell: str) -> dict[str, str]:
    request = {"_FASTZERO_COMPLETE": f"complete_{shell}"}
    if shell == "bash":
        return {**request, "COMP_WORDS": line, "COMP_CWORD": str(len(re.split(r"\s+", line)) - 1)}
    if shell == "powershell":
        return {**request, "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_WORD_TO_COMPLETE": line.rpartition(" ")[2]}
    return {**request, "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}


def _offers(out: str, shell: str) -> dict[str, str]:
    if shell == "zsh":
        return {match[1]: match[2] or "" for match in re.finditer(r'"([^"]*)"(?::"([^"]*)")?(?=\n|\))', out)}
    separator = ":::" if shell == "powershell" else "\t"
    return {(parts := [*line.split(separator), ""])[0]: parts[1].strip() for line in out.splitlines() if line}


@pytest.fixture
def todos(ana: User, fastzero: Run) -> None:
    fastzero(
        "todo",
        "add",
        "-",
        "-q",
        "--tag",
        "work",
        stdin="\n".join(["Write the report", *(f"todo {n}" for n in range(2, 131))]),
    )


OFFERED = [
    ("fastzero ", set(COMMANDS[""].commands)),
    ("fastzero mi", {"migrate"}),
    ("fastzero todo re", {"redo", "reopen", "restore"}),
    ("fastzero todo list -s d", {"draft", "doing", "done"}),
    ("fastzero todo list --sort ", {"id", "created", "updated", "title", "due", "priority", "position"}),
    ("fastzero todo add x --priority h", {"high"}),
    ("fastzero todo list --tag wo", {"work"}),
    ("fastzero todo edit 1 --due to", {"today", "tomorrow"}),
    ("fastzero todo move 1 --to tr", {"trash"}),
    ("fastzero -o ", {"table", "json", "ndjson", "csv", "tsv", "ids"}),
    ("fastzero todo list --bo", {"--board"}),
    ("fastzero user show a", {"ana"}),
    ("fastzero todo list --user ", {"ana"}),
    ("fastzero todo done 13", {"13", "130"}),
    ("fastzero logs ", {"database", "app"}),
    ("fastzero exec d", {"database"}),
    ("fastzero logs --level w", {"warning"}),
    ("fastzero up --runtime ", {"embedded", "docker", "swarm"}),
    ("fastzero env --format d", {"dotenv"}),
    ("fastzero migrate down ", {"head", "base", *REVISIONS}),
    ("fastzero migrate stamp 000", {each for each in REVISIONS if each.startswith("000")}),
]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_is_offered_what_fits(shell: str, todos: None, complete: Complete) -> None:
    assert [set(complete(line, shell)) for line, _ in OFFERED] == [offered for _, offered in OFFERED]


def test_services_are_those_of_the_project_and_names_of_what_it_has(complete: Complete) -> None:
    record = ProjectRecord("embedded", {"database": 5432}, processes=("web", "worker", "$(touch evil)"))
    Project("shop", Path(os.environ["FASTZERO_HOME"])).save(record)
    assert set(complete("fastzero -p shop restart ")) == {"database", "web", "worker"}
    assert set(complete("fastzero -p sh")) == {"shop"}
    assert complete("fastzero -p shop db place use ") == {}


def test_backups_are_those_of_the_database(ana: User, fastzero: Run, complete: Complete) -> None:
    fastzero("db", "backup", "--name", "before-holidays")
    assert set(complete("fastzero db restore be")) == {"before-holidays"}
    assert set(complete("fastzero db verify ")) == {"before-holidays"}


def test_users_are_completed_however_many_there_are(
    add_user: Callable[[str], User], database: str, complete: Complete
) -> None:
    for name in ("ana", "bob", "bea"):
        add_user(name)
    assert set(complete("fastzero todo list -u b")) == {"bob", "bea"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_ids_come_newest_first_with_their_titles(shell: str, todos: None, complete: Complete) -> None:
    found = complete("fastzero todo done ", shell)
    assert list(found)[:2] == ["130", "129"]
    assert found["130"] == "todo 130"


def test_ids_that_begin_alike_come_newest_first(todos: None, complete: Complete) -> None:
    assert complete("fastzero todo show 1") == {
        **{str(number): f"todo {number}" for number in range(130, 99, -1)},
        **{str(number): f"todo {number}" for number in range(19, 9, -1)},
        "1": "Write the report",
    }


def test_ids_are_those_of_the_user_and_database_in_the_line(
    todos: None, add_user: Callable[[str], User], database: str, fastzero: Run, complete: Complete,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add_user("bob")
    fastzero("todo", "add", "of bob", "-u", "bob")
    monkeypatch.delenv("DATABASE_URL")
    assert complete(f"fastzero --database-url {database} todo done -u bob ") == {"131": "of bob"}


NASTY = ["[/x] [red]", "x" * 200, "tab\there", "two\nlines", "\x1b[2J", "日本語" * 60, "it's", 'a "quote"']


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_no_title_breaks_a_suggestion(shell: str, ana: User, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with FastZero(database) as fz:
        fz.todos(ana).add_many(NewTodo(title) for title in NASTY)
    for name, value in _request("fastzero todo done ", shell).items():
        monkeypatch.setenv(name, value)
    result = script()
    assert (result.code, result.err) == (0, "")
    assert list(_offers(result.out, shell)) == [str(id) for id in range(len(NASTY), 0, -1)]
    assert "\x1b" not in result.out


EVIL = """a \\$(touch evil1) `touch evil2` \\`touch evil3\\` '$(touch evil4)' "$(touch evil5)" ' ; touch evil6 ; '"""


def test_no_title_is_ever_evaluated(ana: User, fastzero: Run, complete: Complete) -> None:
    fastzero("todo", "add", EVIL)
    help = complete("fastzero todo done ", "zsh")["1"]
    assert not set("\\`$\"'[]") & set(help)


# -- in real shells --------------------------------------------------------------------------------------------


def test_bash_completes_with_the_script_that_is_shown(todos: None) -> None:
    result = shell(
        "source <(_FASTZERO_COMPLETE=source_bash fastzero)\n"
        'COMP_WORDS=(fastzero todo done 13); COMP_CWORD=3; _fastzero_completion fastzero; echo "${COMPREPLY[@]}"'
    )
    assert (result.out, result.err) == ("130 13\n", "")


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_with_the_script_that_is_shown(todos: None) -> None:
    offered = shell("_FASTZERO_COMPLETE=source_fish fastzero | source; complete -C 'fastzero todo done 13'", "fish").out
    assert sorted(offered.splitlines()) == ["13\ttodo 13", "130\ttodo 130"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_shows_titles_and_evaluates_none(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "the-last-of-them")
    fastzero("todo", "add", EVIL)
    Path("completion.zsh").write_text(shell("_FASTZERO_COMPLETE=source_zsh fastzero").out)
    with Terminal("-f", "-i", program="zsh", environment={"PATH": search_path()}) as terminal:
        terminal.type("autoload -Uz compinit; compinit -u -d dump; source completion.zsh; print ready-$((40 + 2))\n")
        terminal.wait_for("ready-42")
        terminal.type("fastzero todo done \t")
        terminal.wait_for("the-last-of-them")
    assert list(Path().glob("evil*")) == []


# -- the database away -----------------------------------------------------------------------------------------

LINES = ["fastzero todo done ", "fastzero user show ", "fastzero todo list -u ", "fastzero -p "]


@pytest.fixture
def silent_server() -> Iterator[str]:
    """It accepts connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"postgresql://me:word@127.0.0.1:{server.getsockname()[1]}/db"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("url", [None, "postgresql://me:word@127.0.0.1:1/db", "nonsense"])
def test_without_a_database_there_is_nothing_to_say(
    url: str | None, shell: str, complete: Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    if url:
        monkeypatch.setenv("DATABASE_URL", url)
    assert [complete(line, shell) for line in LINES] == [{}] * len(LINES)


def test_settings_that_cannot_be_read_are_no_word_either(complete: Complete) -> None:
    Path("fastzero.toml").write_text("project = [")
    assert [complete(line) for line in LINES] == [{}] * len(LINES)


def test_a_server_that_hangs_is_given_up(silent_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _request(LINES[0], "fish").items():
        monkeypatch.setenv(name, value)

    def seconds(url: str) -> float:
        monkeypatch.setenv("DATABASE_URL", url)
        began = time.monotonic()
        done = subprocess.run([SCRIPT], capture_output=True, text=True)
        assert Result(done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
        return time.monotonic() - began

    refused = seconds("postgresql://me:word@127.0.0.1:1/db")
    assert seconds(silent_server) - refused < 4.5, "libpq would wait for five seconds"


def test_commands_and_states_need_no_database(complete: Complete) -> None:
    assert "done" in complete("fastzero todo ")
    assert "done" in complete("fastzero todo list -s ")
