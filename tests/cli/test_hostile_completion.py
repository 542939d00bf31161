"""Tab in a folder that was cloned, and on a database of somebody else: nothing runs, and no server is called."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastzero_cli import completion
from fastzero_core import FastZero, User
from fastzero_core.project import Project, ProjectRecord

from .conftest import Run
from .shell import Terminal, script, search_path, shell
from .test_completion import SHELLS, Complete, complete

__all__ = ["complete"]

pytestmark = pytest.mark.slow

HOSTILE = [
    "a$(touch evil1)",
    "a`touch evil2`",
    "a;touch evil3;",
    "a'$(touch evil4)'",
    'a"$(touch evil5)"',
    "a\\$(touch evil6)",
    "a$(touch${IFS}evil7)",
    "a&touch evil8&",
    "a|touch evil9",
    "a\ntouch evil10",
    "a>evil11",
    "a*",
    "a b",
    "a:b",
    "a[$(touch evil12)]",
    "a${(e):-$(touch evil13)}",
    "--yes",
]
GOOD = {"project": "a-good-one", "username": "ana", "id": "1"}
LINES = {"project": "fastzero -p ", "username": "fastzero user show ", "id": "fastzero todo done -u ana "}


@pytest.fixture
def hostile(database: str, ana: User, sql: Callable[[str], None]) -> None:
    """Project names, usernames and ids that fastzero would never have made, beside one good one of each kind."""
    for name in [GOOD["project"], *HOSTILE]:
        Project(name, Path(os.environ["FASTZERO_HOME"])).save(ProjectRecord("embedded"))
    with FastZero(database) as fz:
        fz.todos(ana).add("a good one")
    texts = ", ".join(f"($evil${name}$evil$)" for name in HOSTILE)
    sql(
        f"""
        INSERT INTO users (username, email, password_hash)
            SELECT name, name || '@example.com', '' FROM (VALUES {texts}) _ (name);
        ALTER TABLE todos RENAME TO todos_of_ana;
        CREATE VIEW todos AS
            SELECT user_id, name AS id, title, description, state, created_at, updated_at,
                priority, due_at, due_on, tags, position, completed_at, list_id, external_id
            FROM todos_of_ana, (VALUES ('1'), {texts}) _ (name);
        """
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_only_what_can_be_a_name_or_an_id_is_offered(
    shell: str, hostile: None, complete: Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "PATIENCE", 30)
    assert {kind: list(complete(line, shell)) for kind, line in LINES.items()} == {
        kind: [good] for kind, good in GOOD.items()
    }


def _check_offers(kind: str, offers: str) -> None:
    """Check that the good one alone was offered; or nothing, by a database that did not answer in time."""
    assert offers.split() == [GOOD[kind]] or (kind != "project" and not offers.split())
    assert not list(Path().glob("evil*"))


@pytest.mark.parametrize("kind", LINES)
def test_bash_runs_nothing_at_tab_or_when_an_offer_is_taken(kind: str, hostile: None) -> None:
    line = (
        "source <(_FASTZERO_COMPLETE=source_bash fastzero)\n"
        f"COMP_WORDS=({LINES[kind]} ''); COMP_CWORD={len(LINES[kind].split())}; _fastzero_completion fastzero\n"
        'printf "%s\\n" "${COMPREPLY[@]}"; for each in "${COMPREPLY[@]}"; do eval ": $each"; done'
    )
    _check_offers(kind, shell(line).out)


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
@pytest.mark.parametrize("kind", LINES)
def test_fish_runs_nothing_at_tab_or_when_an_offer_is_taken(kind: str, hostile: None) -> None:
    line = (
        f"_FASTZERO_COMPLETE=source_fish fastzero | source; for each in (complete -C '{LINES[kind]}')\n"
        "set value (string split \\t $each)[1]; echo $value; eval : $value; end"
    )
    _check_offers(kind, shell(line, "fish").out)


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_runs_nothing_at_tab_or_when_an_offer_is_taken(hostile: None) -> None:
    Path("completion.zsh").write_text(shell("_FASTZERO_COMPLETE=source_zsh fastzero").out)
    with Terminal("-f", "-i", program="zsh", environment={"PATH": search_path()}) as terminal:
        terminal.type("autoload -Uz compinit; compinit -u -d dump; source completion.zsh; print ready-$((40 + 2))\n")
        terminal.wait_for("ready-42")
        terminal.type(f"{LINES['project']}\t")
        terminal.wait_for(f"{LINES['project']}{GOOD['project']}")
        terminal.type("; print taken-$((40 + 3))\n")
        terminal.wait_for("taken-43")
        for number, kind in enumerate(["username", "id"], 44):
            terminal.type(f"{LINES[kind]}\t; print taken-$((0 + {number}))\n")
            terminal.wait_for(f"taken-{number}\r")
    assert not list(Path().glob("evil*"))


# -- a folder that is not trusted ------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """It listens, and would know if somebody had called."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        yield listening


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("file", [".env", "fastzero.toml"])
def test_no_server_is_called_that_an_untrusted_folder_names(
    file: str, shell: str, server: socket.socket, complete: Complete
) -> None:
    url = f"postgresql://me:word@127.0.0.1:{server.getsockname()[1]}/db"
    text = f"FASTZERO_DATABASE_URL={url}\n" if file == ".env" else f'database_url = "{url}"\n'
    Path(file).write_text(text)
    assert [complete(line, shell) for line in LINES.values()] == [{}, {}, {}]
    with pytest.raises(BlockingIOError):
        server.accept()


@pytest.mark.parametrize("shell", SHELLS)
def test_no_project_is_offered_of_a_home_that_an_untrusted_folder_names(
    shell: str, complete: Complete, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTZERO_HOME")
    Path(".env").write_text("FASTZERO_HOME=.fz\n")
    Project("theirs", Path(".fz")).save(ProjectRecord("embedded"))
    assert complete("fastzero -p ", shell) == {}
    fastzero("trust", "--yes")
    assert complete("fastzero -p ", shell) == {"theirs": ""}


@pytest.mark.parametrize("file", [".env", "fastzero.toml"])
def test_files_that_cannot_be_read_are_no_word_and_not_waited_for(file: str, complete: Complete) -> None:
    os.mkfifo(file)
    assert [complete(line) for line in LINES.values()] == [{}, {}, {}]


def test_states_are_offered_in_an_untrusted_folder_too(complete: Complete) -> None:
    Path(".env").write_text("FASTZERO_HOME=.fz\n")
    assert "done" in complete("fastzero todo list -s ")


def test_nothing_is_said_where_the_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("fastzero.toml").write_text('home = ".fz"\n')
    monkeypatch.setenv("_FASTZERO_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "fastzero -p ")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert script() == (0, "\n", "")
