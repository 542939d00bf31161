"""An application of the user's own as local processes: its environment, its migrations, its processes, its failures."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from fastzero_core import Stack, load_settings
from fastzero_core.care import schema_of
from fastzero_core.errors import (
    ConflictError,
    DependenciesMissingError,
    InvalidInputError,
    RevisionFailedError,
    UnhealthyError,
    UntrustedFolderError,
)
from fastzero_core.events import Event, Notice
from fastzero_core.polling import wait_until
from fastzero_core.settings import folder_trust
from fastzero_core.stack import doctor
from fastzero_core.stack.embedded.process import Processes
from fastzero_core.stack.observed import ServiceState
from tests.ports import any_free_port

from .conftest import SOON, RunPython
from .own_app import add_revision, answer, make_environment, states, write_application

ONE_SCREEN = 24  # lines
KILLED_AFTER = """
import os, signal, sys
from fastzero_core import Stack
from fastzero_core.events import ActionDone
def note(event):
    if isinstance(event, ActionDone) and str(event.action) == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
Stack(on_event=note).rotate_database_passwords()
"""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("trusted_folder")]


@pytest.fixture
def stack(home: Path, application: Path) -> Stack:
    """The application's stack, up."""
    return Stack().up(runtime="embedded", port=any_free_port())


def test_it_runs_in_its_own_environment_on_its_own_schema(stack: Stack, application: Path) -> None:
    told = answer(stack)

    assert told["notes"] == 0
    assert told["prefix"] == str(application / ".venv")
    assert len(told["secret"]) == 43
    assert states(stack) == dict.fromkeys(("database", "web", "worker"), ServiceState.RUNNING)


def test_its_database_has_its_own_tables_alone(stack: Stack) -> None:
    with psycopg.connect(stack.database_url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert {name for (name,) in rows} == {"notes", "alembic_version"}


def test_a_second_up_has_nothing_to_do(stack: Stack) -> None:
    assert Stack().plan() == []


def test_a_secret_is_made_once_and_kept(stack: Stack) -> None:
    before = answer(stack)["secret"]
    stack.down()
    assert answer(Stack().up())["secret"] == before


def test_no_secret_stands_in_the_records_of_its_processes(stack: Stack) -> None:
    secret = answer(stack)["secret"]
    password = stack.project.secret("database_password")
    for record in (stack.project.folder / "processes").iterdir():
        assert secret not in record.read_text()
        assert password not in record.read_text()


def test_its_secrets_are_files_too_that_only_this_user_reads(stack: Stack, capfd: pytest.CaptureFixture[str]) -> None:
    assert stack.run(["printenv", "CREDENTIALS_DIRECTORY", "APP_SECRET", "DATABASE_URL"]) == 0

    folder, secret, url = capfd.readouterr().out.split()
    assert (Path(folder) / "APP_SECRET").read_text() == secret == answer(stack)["secret"]
    assert (Path(folder) / "DATABASE_URL").read_text() == url
    of_web = stack.project.folder / "credentials" / "web"
    assert {path.stat().st_mode & 0o777 for path in of_web.iterdir()} == {0o600}
    assert of_web.parent.stat().st_mode & 0o777 == 0o700


def test_it_logs_in_with_the_rotated_password(stack: Stack) -> None:
    database = stack.status()[0].pid

    stack.rotate_database_passwords()

    assert answer(stack)["notes"] == 0
    assert stack.status()[0].pid == database
    assert stack.plan() == []


@pytest.mark.parametrize("step", ["set role fastzero", "set secret database_password", "stop process web"])
def test_it_logs_in_again_after_a_rotation_that_was_killed(stack: Stack, run_python: RunPython, step: str) -> None:
    killed = run_python(KILLED_AFTER, step)
    said, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said

    Stack().up()

    assert answer(stack)["notes"] == 0
    assert stack.plan() == []


def test_with_split_roles_it_migrates_as_the_owner_and_runs_as_a_role_that_changes_rows_alone(
    stack: Stack, application: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FASTZERO_SPLIT_ROLES", "true")
    add_revision(application, "0002", "0001", up="CREATE SCHEMA more; CREATE TABLE more.rows (id serial, text text)")
    split = Stack().up()

    assert answer(split)["notes"] == 0
    assert split.execute("web", ["printenv", "PGUSER"]) == 0
    assert capfd.readouterr().out.strip() == "fastzero_app"
    assert split.run(["printenv", "PGUSER"]) == 0
    assert capfd.readouterr().out.strip() == "fastzero"
    with psycopg.connect(split.project.app_url(), autocommit=True) as session:
        session.execute("INSERT INTO more.rows (text) VALUES ('one')")
        for refused in (
            "CREATE TABLE x ()",
            "DROP TABLE notes",
            "CREATE TABLE more.x ()",
            "ALTER TABLE notes ADD x int",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(refused.encode())
    split.rotate_database_passwords()
    assert answer(split)["notes"] == 0
    assert split.plan() == []

    monkeypatch.delenv("FASTZERO_SPLIT_ROLES")
    assert answer(Stack().up())["notes"] == 0


CHANGED = """
migrate = "touch harmed"

[application.processes]
worker = "touch harmed"
"""


@pytest.mark.parametrize(
    "run",
    [
        lambda: Stack("own").restart(),
        lambda: Stack("own").restart("database"),
        lambda: Stack("own").rotate_database_passwords(),
        lambda: Stack("own").move("embedded"),
        lambda: Stack("own").migrate_down("base"),
        lambda: Stack("own").rehearse(),
        lambda: Stack("own").reset(no_backup=True),
    ],
    ids=["restart", "restart database", "rotate", "move", "migrate down", "rehearse", "reset"],
)
def test_no_command_runs_a_description_that_has_changed_since_it_was_trusted(
    stack: Stack, application: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]
) -> None:
    monkeypatch.delenv("FASTZERO_TRUST")
    folder_trust(application).give()
    described = application / "fastzero.toml"
    described.write_text(described.read_text().partition("[application.environment]")[0] + CHANGED)
    monkeypatch.chdir("/")
    before = {each.service: each.pid for each in Stack("own").status()}

    with pytest.raises(UntrustedFolderError):
        run()

    assert not (application / "harmed").exists()
    assert {each.service: each.pid for each in Stack("own").status()} == before


def test_new_revisions_are_applied_before_its_processes_are_touched(stack: Stack, application: Path) -> None:
    add_revision(application, "0002", "0001", up="INSERT INTO notes VALUES ('hello')")

    plan = [str(action) for action in Stack().plan()]
    Stack().up()

    assert plan[0] == "migrate schema database"
    assert answer(stack)["notes"] == 1


def test_a_migration_that_fails_leaves_the_processes_as_they_are(stack: Stack, application: Path) -> None:
    before = {each.service: each.pid for each in stack.status()}
    add_revision(application, "0002", "0001", up="SELECT nonsense")

    with pytest.raises(RevisionFailedError) as failed:
        Stack().up()

    assert failed.value.exit_code == 7
    assert 'column "nonsense" does not exist' in failed.value.evidence
    assert {each.service: each.pid for each in stack.status()} == before


def test_a_process_that_is_gone_is_started_again_alone(stack: Stack) -> None:
    before = {each.service: each.pid for each in stack.status()}
    supervisor = Processes(stack.project.folder).recorded("web")
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    assert wait_until(lambda: states(stack)["web"] is ServiceState.STOPPED, SOON)

    after = {each.service: each.pid for each in Stack().up().status()}

    assert (after["database"], after["worker"]) == (before["database"], before["worker"])
    assert answer(stack)["notes"] == 0


@pytest.mark.parametrize(
    ("file", "text", "evidence", "cause"),
    [
        ("app.py", "def app(:", "SyntaxError", "Probably SyntaxError in"),
        (
            "app.py",
            "import os; os.environ['NO_SUCH_VARIABLE']",
            "KeyError: 'NO_SUCH_VARIABLE'",
            "Probably the variable NO_SUCH_VARIABLE is missing",
        ),
        ("worker.py", "raise SystemExit('no broker')", "no broker", "fastzero logs worker"),
    ],
    ids=["syntax", "variable", "worker"],
)
def test_one_that_ends_at_once_is_told_with_its_last_words(
    home: Path, application: Path, file: str, text: str, evidence: str, cause: str
) -> None:
    (application / file).write_text(text)

    with pytest.raises(UnhealthyError) as failed:
        Stack().up(runtime="embedded", port=any_free_port())

    assert failed.value.exit_code == 8
    assert evidence in failed.value.evidence
    assert cause in failed.value.hint
    assert len(failed.value.evidence.splitlines()) <= ONE_SCREEN


def test_one_that_never_opens_its_port_is_told(home: Path, application: Path) -> None:
    description = application / "fastzero.toml"
    description.write_text(description.read_text().replace('asgi = "app:app"', 'command = "python worker.py"'))

    with pytest.raises(UnhealthyError, match="web is not ready") as failed:
        Stack().up(runtime="embedded", port=any_free_port(), timeout=20)

    assert "Probably nothing says that it listens: let its command use {app_host} and {app_port}" in failed.value.hint
    assert "working" in failed.value.evidence


def test_a_command_finds_what_the_application_finds(stack: Stack, capfd: pytest.CaptureFixture[str]) -> None:
    code = stack.run(["python", "-c", "import os, sys; print(sys.prefix, os.getcwd(), 'APP_SECRET' in os.environ)"])

    prefix, directory, has_secret = capfd.readouterr().out.split()
    assert code == 0
    assert prefix == f"{directory}/.venv"
    assert has_secret == "True"


def test_missing_dependencies_are_told_with_the_command_that_installs_them(home: Path, folder_of_app: Path) -> None:
    with pytest.raises(DependenciesMissingError) as missing:
        Stack().up(runtime="embedded")

    assert "requirements.txt" in missing.value.hint
    assert "fastzero up --install" in missing.value.hint
    assert not Stack().exists


def test_the_command_of_the_description_installs_them_when_asked(home: Path, folder_of_app: Path) -> None:
    description = folder_of_app / "fastzero.toml"
    make_environment(folder_of_app)
    (folder_of_app / ".venv").rename(folder_of_app / "elsewhere")
    description.write_text(
        description.read_text().replace("[application]", '[application]\ninstall = "mv elsewhere .venv"')
    )

    stack = Stack().up(runtime="embedded", port=any_free_port(), install=True)

    assert states(stack)["web"] is ServiceState.RUNNING


def test_a_project_runs_the_application_of_one_folder(
    stack: Stack, application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_application(application.parent / "other", any_free_port())
    monkeypatch.chdir(other)

    with pytest.raises(ConflictError, match=str(application)):
        Stack().up()
    assert states(Stack("own"))["web"] is ServiceState.RUNNING


def test_it_is_looked_at_and_stopped_where_its_description_is_gone(stack: Stack, application: Path) -> None:
    (application / "fastzero.toml").unlink()
    gone = Stack("own")

    assert states(gone)["web"] is ServiceState.RUNNING
    with pytest.raises(InvalidInputError, match="not described"):
        gone.up()
    gone.down()
    assert states(gone)["database"] is ServiceState.STOPPED


# -- care of its database --------------------------------------------------------------------------------------


def add_note(stack: Stack, text: str) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO notes VALUES (%s)", [text])


def test_a_backup_of_its_database_comes_back(stack: Stack) -> None:
    add_note(stack, "kept")
    backup = stack.backup()
    add_note(stack, "later")

    restored = stack.restore(backup.name)

    assert (restored.revision, answer(stack)["notes"]) == ("0001", 1)


def test_an_older_backup_is_restored_as_it_is_and_the_next_up_brings_it_to_head(
    stack: Stack, application: Path
) -> None:
    backup = stack.backup()
    add_revision(application, "0002", "0001", up="INSERT INTO notes VALUES ('of 0002')")
    Stack().up()

    assert stack.restore(backup.name).revision == "0001"
    assert answer(Stack().up())["notes"] == 1


def test_a_reset_empties_its_own_schema(stack: Stack) -> None:
    add_note(stack, "gone")

    restored = stack.reset()

    assert (restored.revision, answer(stack)["notes"]) == ("0001", 0)
    with psycopg.connect(stack.database_url) as connection:
        assert connection.execute("SELECT to_regclass('todos')").fetchone() == (None,)


def test_a_downgrade_runs_its_own_revision_and_backs_up_before(stack: Stack, application: Path) -> None:
    add_revision(application, "0002", "0001", up="CREATE TABLE more ()", back="DROP TABLE more")
    Stack().up()

    status = Stack().migrate_down("0001")

    assert (status.current, status.head, status.pending) == ("0001", "0002", ["0002"])
    assert len(stack.backups()) == 1


def test_a_rehearsal_runs_its_revisions_on_a_copy(stack: Stack, application: Path) -> None:
    add_revision(application, "0002", "0001", up="SELECT nonsense")

    with pytest.raises(RevisionFailedError, match="on the copy"):
        Stack().rehearse()
    with psycopg.connect(stack.database_url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)


def test_several_heads_are_all_applied_where_the_description_says_so(home: Path, application: Path) -> None:
    description = application / "fastzero.toml"
    description.write_text(
        description.read_text().replace("[application]", '[application]\nmigrate = "alembic upgrade heads"')
    )
    add_revision(application, "0002", "0001", up="SELECT 1")
    add_revision(application, "0003", "0001", up="SELECT 1")

    stack = Stack().up(runtime="embedded", port=any_free_port())

    assert stack.status()[0].revision == "0002,0003"
    assert Stack().plan() == []
    assert stack.backup().revision == "0002,0003"


def test_doctor_knows_its_schema(stack: Stack) -> None:
    findings = {each.code: each for each in doctor.examine(stack.settings)}
    assert (findings["schema"].result, findings["schema"].found) == ("ok", "at head (0001)")
    assert {each.result for each in findings.values()} == {"ok"}


OLD_ALEMBIC = """#!{python}
import alembic.command
del alembic.command.check  # as before Alembic 1.9
from alembic.config import main
main()
"""


def test_an_alembic_without_check_has_a_status_and_says_what_check_needs(stack: Stack, application: Path) -> None:
    (application / ".venv/bin/alembic").write_text(OLD_ALEMBIC.format(python=application / ".venv/bin/python"))
    schema = schema_of(load_settings())

    assert schema.status(stack.database_url).drift == []
    with pytest.raises(InvalidInputError, match="has no check"):
        schema.check(stack.database_url)


TAKER = """
import os, socket, sys
taken = socket.create_server(("127.0.0.1", {port}))
if os.fork() == 0:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1), os.dup2(1, 2)
    open("taker", "w").write(str(os.getpid()))
    taken.accept()
print("installed", file=open("installs", "a"))
"""


def test_a_port_that_is_taken_meanwhile_does_not_install_again(
    home: Path, application: Path, default_port: int
) -> None:
    (application / "taker.py").write_text(TAKER.format(port=default_port))
    text = (application / "fastzero.toml").read_text()
    install = f'[application]\ninstall = "{sys.executable} taker.py"'
    (application / "fastzero.toml").write_text(text.replace("[application]", install, 1))
    try:
        stack = Stack().up(runtime="embedded", install=True)
        assert stack.status()[0].address != f"127.0.0.1:{default_port}"
        assert (application / "installs").read_text() == "installed\n"
    finally:
        os.kill(int((application / "taker").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("tool", ["requirements.txt", "uv.lock"])
def test_a_python_that_is_missing_is_told_before_anything_is_installed(
    tool: str, folder_of_app: Path, home: Path
) -> None:
    requires = "[project]\nname = 'x'\nversion = '0'\nrequires-python = '==3.9999.*'\n"
    (folder_of_app / "pyproject.toml").write_text(requires)
    (folder_of_app / "requirements.txt").unlink()
    (folder_of_app / tool).touch()
    events: list[Event] = []

    with pytest.raises(DependenciesMissingError) as caught:
        Stack(on_event=events.append).up(runtime="embedded", port=any_free_port(), install=True)

    told = [each.text for each in events if isinstance(each, Notice)]
    assert "which this machine does not have" in "\n".join([str(caught.value), *told])
