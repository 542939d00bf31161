"""Mistakes of people who know other tools, or who mix up words, values and files: what is told, and what to type."""

import os
from pathlib import Path

import pytest

from fastzero_cli.mistakes import OPTIONS, WORDS
from fastzero_core import FastZero, User
from fastzero_core.project import Project, ProjectRecord

from .conftest import Run
from .tree import ROOT

# words, exit code, what the error says, what the hint says
TYPED: list[tuple[str, int, str, str]] = [
    # words in another order
    ("list todos", 2, "unknown command 'todos'", "fastzero todo list"),
    ("list users", 2, "unknown command 'users'", "fastzero user list"),
    ("list backups", 2, "unknown command 'backups'", "fastzero db backup list"),
    ("list migrations", 2, "unknown command 'migrations'", "fastzero migrate history"),
    ("add todo Milk", 2, "unknown command 'add'", "fastzero todo add"),
    ("create user bob", 2, "unknown command 'create'", "fastzero user add"),
    ("delete todo 1", 2, "unknown command 'delete'", "fastzero todo trash"),
    ("todo 1 done", 2, "unknown command '1'", "fastzero todo done 1"),
    # other names
    ("lists", 2, "unknown command 'lists'", "fastzero list list"),
    ("task list", 2, "unknown command 'task'", "fastzero todo"),
    ("show 1", 2, "unknown command 'show'", "fastzero todo show"),
    ("alembic upgrade head", 2, "unknown command 'alembic'", "fastzero migrate"),
    ("inspect", 2, "unknown command 'inspect'", "fastzero status -o json"),
    ("db diff", 2, "unknown command 'diff'", "fastzero migrate check"),
    ("db push", 2, "unknown command 'push'", "fastzero migrate"),
    ("migrate heads", 2, "unknown command 'heads'", "fastzero migrate history"),
    # options of Docker Compose, the Supabase CLI, Kamal, Taskwarrior and Alembic
    ("up -d", 2, "no such option: -d", "Leave it out"),
    ("up --wait", 2, "no such option: --wait", "Leave it out"),
    ("up --force-recreate", 2, "no such option: --force-recreate", "fastzero restart SERVICE"),
    ("up -f compose.yaml", 2, "no such option: -f", "folder of fastzero.toml"),
    ("down --remove-orphans", 2, "no such option: --remove-orphans", "Leave it out"),
    ("down --volumes --force", 2, "no such option: --force", "--yes"),
    ("logs -t", 2, "no such option: -t", "Leave it out"),
    ("status --json", 2, "no such option: --json", "-o json"),
    ("ls --verbose", 2, "no such option: --verbose", "fastzero logs"),
    ("user list --db postgresql://db/x", 2, "no such option: --db", "--database-url"),
    ("migrate new -m due", 2, "no such option: -m", "fastzero migrate new MESSAGE"),
    ("migrate -1", 2, "no such option: -1", "fastzero migrate down -1"),
    ("todo list status:pending", 2, "unexpected argument 'status:pending'", "-s STATE"),
    # words where none are taken
    ("up app", 2, "unexpected argument 'app'", "fastzero restart SERVICE"),
    ("down app", 2, "unexpected argument 'app'", "fastzero restart SERVICE"),
    ("status app", 2, "unexpected argument 'app'", "fastzero logs SERVICE"),
    ("config set color never", 2, "unexpected argument 'set color never'", "fastzero docs settings"),
    # values
    ("todo show -1", 2, "no such option: -1", "positive"),
    ("todo show 1,2", 2, "invalid id '1,2'", "Separate ids with spaces"),
    ("todo show 99999999999999999999", 2, "9223372036854775807", "fastzero todo show --help"),
    ("todo move 1 done", 2, "give one of --to", "fastzero todo move ID --to STATE"),
    ("todo list -s Done", 2, "state 'Done' is not one of", "Did you mean done?"),
    ("todo list --sort titel", 2, "sort 'titel' is not one of", "Did you mean title?"),
    ("todo list --after x", 2, "use a whole number", "fastzero todo list --help"),
    ("logs --tail many", 2, "use a whole number", "fastzero logs --help"),
    ("user edit ana", 2, "nothing to change", "fastzero user edit --help"),
    # files
    ("db restore ./photo.dump --yes", 2, "photo.dump has no manifest", "fastzero db backup list"),
    ("db verify ./folder", 2, "folder is not a regular file", "fastzero db backup list"),
    ("db verify ./missing.dump", 3, "'./missing.dump' does not exist", "fastzero db backup list"),
    ("db backup take ./folder", 4, "folder already exists", "Choose another name"),
    ("init photo.dump", 3, "'photo.dump' is not a folder", "Name the folder"),
    ("init missing", 3, "folder 'missing' does not exist", "Name the folder"),
    ("docs errrors", 3, "no page 'errrors'", "errors"),
]


@pytest.fixture
def folder_with_files(database: str, ana: User) -> None:
    """A project, a todo in the database that DATABASE_URL names, a file that is no backup, and a folder."""
    Project("fastzero", Path(os.environ["FASTZERO_HOME"])).save(ProjectRecord("embedded"))
    with FastZero(database) as fz:
        fz.todos(ana).add("one")
    Path("photo.dump").write_bytes(bytes(range(256)))
    Path("folder").mkdir()


@pytest.mark.parametrize(("line", "code", "error", "hint"), TYPED, ids=[line for line, *_ in TYPED])
def test_a_mistake_is_answered_with_what_to_type(
    line: str, code: int, error: str, hint: str, folder_with_files: None, fastzero: Run
) -> None:
    result = fastzero(*line.split())
    assert (result.code, result.out) == (code, ""), result.err
    assert "Traceback" not in result.err
    first, _, rest = result.err.partition("\nHint: ")
    assert first.startswith("Error: ")
    assert error in first
    assert hint in rest


def test_there_are_forty_of_them() -> None:
    assert len(TYPED) >= 40


@pytest.mark.parametrize("command", sorted({*OPTIONS, *WORDS} - {""}))
def test_an_option_that_is_answered_does_not_exist(command: str) -> None:
    found = ROOT
    for name in command.split():
        found = found.commands[name]
    ours = {name for parameter in found.params for name in parameter.opts}
    assert not ours & set(OPTIONS.get(command, {}))


# -- files of settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("fastzero.toml", b"project: demo\n", "not valid TOML: Expected '=' after a key"),
        ("fastzero.toml", b'project = "a"\nproject = "b"\n', "(at line 2, column 14)"),
        ("fastzero.toml", b"\xff\xfe", "fastzero.toml is not UTF-8 text"),
        ("fastzero.toml", b"[aplication]\n", "unknown key 'aplication'"),
        ("fastzero.toml", b"workers = 0\n", "fastzero.toml:1: workers: it must be greater than or equal to 1"),
        (".env", b"\xff\xfe=\n", ".env is not UTF-8 text"),
        (".env", b'FASTZERO_PROJECT="x\n', ".env:1 cannot be read"),
        (".env", b"\nFASTZERO_WORKERS=many\n", "invalid .env:2: FASTZERO_WORKERS"),
    ],
)
def test_a_broken_file_is_told_with_its_line_and_what_to_do(name: str, text: bytes, said: str, fastzero: Run) -> None:
    Path(name).write_bytes(text)
    result = fastzero("ls")
    assert (result.code, result.out) == (2, "")
    assert said in result.err.splitlines()[0]
    assert "\nHint: " in result.err


# -- terminals, locales and streams ----------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 3, 5, 10])
@pytest.mark.parametrize("words", [["todo", "list"], ["todo", "show", "1"], ["user", "list"], ["config"]])
def test_a_tiny_terminal_shows_everything(
    words: list[str], columns: int, folder_with_files: None, fastzero: Run
) -> None:
    result = fastzero(*words, terminal=columns)
    assert (result.code, result.err) == (0, "")
    assert result.out


@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_YY.UTF-8", "pt_BR.ISO-8859-1", "tr_TR.UTF-8"])
def test_an_unusual_locale_changes_nothing_that_is_kept(
    locale: str, folder_with_files: None, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    assert fastzero("todo", "add", "Comprar pão İ").code == 0
    assert "\tComprar pão İ\t" in fastzero("todo", "list").out


def test_a_file_in_place_of_the_home_is_unavailable(fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("FASTZERO_HOME", str(Path("file").resolve()))
    result = fastzero("status")
    assert (result.code, result.out) == (6, "")
    assert "Not a directory" in result.err
    assert "\nHint: " in result.err


def test_a_folder_that_cannot_be_written_is_named(fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_HOME", "/proc/nothing")
    result = fastzero("up", "--runtime", "embedded", "--no-app")
    assert (result.code, result.out) == (6, "")
    assert "cannot write /proc/nothing" in result.err
    assert "set FASTZERO_HOME to another folder" in result.err
