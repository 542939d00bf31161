"""fastzero db: backups that come back, asked for before anything is lost, on any database by its URL."""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastzero_core import User
from fastzero_core.backup import restore
from fastzero_core.backup.target import Target, backups_of_url
from fastzero_core.schema import migrate
from fastzero_core.schema.revisions import head_revision
from fastzero_core.todo_app.tables import metadata

from .conftest import Run, records
from .shell import Terminal, script, shell

HEAD = head_revision()
NEW = f"{int(HEAD) + 1:04d}"
TABLES = {*metadata.tables, "alembic_version"}
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
WAY_BACK = re.compile(r"To undo: fastzero db restore (\S+)")


@pytest.fixture(autouse=True)
def _no_kept_databases(database: str, folder: Path) -> Iterator[None]:
    yield
    restore.drop_kept(Target.of_url(database, folder))


@pytest.fixture
def backups(database: str) -> Callable[[], list[str]]:
    """The names of the database's backups."""
    folder = backups_of_url(Path(os.environ["FASTZERO_HOME"]), database)
    return lambda: sorted(path.stem for path in folder.glob("*.dump"))


@pytest.fixture
def todo(fastzero: Run, ana: User) -> Callable[[str], None]:
    def add(title: str) -> None:
        assert fastzero("todo", "add", title).code == 0

    return add


# -- taking, listing, pruning ----------------------------------------------------------------------------------


def test_a_backup_goes_to_the_backups_of_its_database(
    fastzero: Run, ana: User, backups: Callable[[], list[str]]
) -> None:
    (taken,) = records(fastzero("db", "backup", "-o", "json"))
    assert (taken["revision"], taken["rows"], taken["problem"]) == (HEAD, 2, "")
    assert backups() == [taken["name"]]
    assert records(fastzero("db", "backup", "list", "-o", "json")) == [taken]


def test_a_backup_has_the_name_it_is_given(fastzero: Run, database: str, backups: Callable[[], list[str]]) -> None:
    assert fastzero("db", "backup", "--name", "before-holidays").code == 0
    assert backups() == ["before-holidays"]
    assert fastzero("db", "backup", "--name", "before-holidays").code == 4
    assert fastzero("db", "backup", "--name", "../elsewhere").code == 2


def test_a_backup_goes_into_a_file(fastzero: Run, database: str, folder: Path) -> None:
    (taken,) = records(fastzero("db", "backup", folder / "here.dump", "-o", "json"))
    assert taken["file"] == str(folder / "here.dump")
    assert sorted(path.name for path in folder.iterdir()) == ["here.dump", "here.dump.manifest.json"]
    assert fastzero("db", "verify", folder / "here.dump").code == 0


def test_a_file_and_a_name_are_one_too_many(fastzero: Run, database: str) -> None:
    assert fastzero("db", "backup", "a.dump", "--name", "b").code == 2


def test_a_backup_goes_into_a_pipe(database: str, folder: Path) -> None:
    done = shell(f"fastzero db backup - > {folder / 'piped'} && head -c 5 {folder / 'piped'}")
    assert done.out == "PGDMP"
    assert "no manifest" in done.err


def test_a_backup_is_nothing_for_a_terminal(database: str) -> None:
    with Terminal("db", "backup", "-") as terminal:
        result = terminal.end()
    assert result.code == 2
    assert "PGDMP" not in result.out


def test_on_a_terminal_progress_makes_way_for_the_result(database: str) -> None:
    with Terminal("db", "backup", "--name", "one") as terminal:
        result = terminal.end()
    progress, _, last_line = result.out.rpartition("\r\x1b[K")
    assert "Copying the rows" in progress
    assert ESCAPE.sub("", last_line).startswith("✓ Backup taken: one · ")


def test_where_there_are_none_the_list_is_empty(fastzero: Run, database: str) -> None:
    assert records(fastzero("db", "backup", "list", "-o", "json")) == []


def test_prune_asks_and_keeps_the_newest(fastzero: Run, database: str, backups: Callable[[], list[str]]) -> None:
    for name in ("one", "two", "three"):
        fastzero("db", "backup", "--name", name)
    refused = fastzero("db", "backup", "prune", "--keep", "1")
    assert refused.code == 2
    assert len(backups()) == 3
    assert fastzero("db", "backup", "prune", "--keep", "1", "--yes").code == 0
    assert len(backups()) == 1


def test_prune_drops_the_databases_kept_from_before_a_restore(fastzero: Run, database: str) -> None:
    fastzero("db", "backup", "--name", "one")
    kept = records(fastzero("db", "restore", "one", "--yes", "--no-backup", "-o", "json"))["kept"]
    pruned = fastzero("db", "backup", "prune", "--keep", "1", "--yes")
    assert f"Dropped database {kept}" in pruned.err
    assert fastzero("db", "restore", "--undo", "--yes").code == 3


# -- verify, restore, undo -------------------------------------------------------------------------------------


def test_verify_tells_what_it_has_proved(fastzero: Run, ana: User) -> None:
    fastzero("db", "backup", "--name", "one")
    verified = records(fastzero("db", "verify", "one", "-o", "json"))
    assert (verified["rows"], verified["tables"], verified["revision"]) == (2, len(TABLES), HEAD)


def test_a_damaged_backup_is_refused_with_exit_2(fastzero: Run, database: str, folder: Path) -> None:
    fastzero("db", "backup", folder / "one.dump")
    with (folder / "one.dump").open("r+b") as file:
        file.seek(100)
        file.write(b"?")
    for command in ("verify", "restore"):
        result = fastzero("db", command, folder / "one.dump", *(["--yes"] if command == "restore" else []))
        assert result.code == 2
        assert "damaged" in result.err


def test_restore_brings_back_what_was_there(
    fastzero: Run, todo: Callable[[str], None], titles: Callable[[], list[str]]
) -> None:
    todo("before")
    fastzero("db", "backup", "--name", "one")
    todo("after")
    restored = records(fastzero("db", "restore", "one", "--yes", "-o", "json"))
    assert titles() == ["before"]
    assert restored["revision"] == HEAD


def test_restore_backs_up_first_and_says_how_to_get_back(
    fastzero: Run,
    todo: Callable[[str], None],
    titles: Callable[[], list[str]],
    backups: Callable[[], list[str]],
) -> None:
    fastzero("db", "backup", "--name", "one")
    todo("after")
    result = fastzero("db", "restore", "one", "--yes")
    names = WAY_BACK.findall(result.err)
    assert names[0] in backups()
    assert names[1] == "--undo"
    fastzero("db", "restore", names[0], "--yes", "--no-backup")
    assert titles() == ["after"]
    assert len(backups()) == 2


def test_the_way_back_names_the_database_that_a_flag_named_but_no_password(
    fastzero: Run, database: str, ana: User
) -> None:
    elsewhere = ("--database-url", database)
    told = fastzero("user", "rm", "ana", "--yes", *elsewhere).err + fastzero("db", "reset", "--yes", *elsewhere).err
    shown = shlex.quote(re.sub(r":[^:@/]*@", "@", database))
    assert told.count("To undo (with the password in its URL): fastzero db restore ") == 2
    assert told.count(f" --database-url {shown}\n") == 2
    assert database not in told


def test_a_backup_of_another_database_is_named_before_it_is_restored(
    fastzero: Run, database: str, empty_database_url: str
) -> None:
    (taken,) = records(fastzero("db", "backup", "--name", "one", "-o", "json"))
    refused = fastzero("db", "restore", taken["file"], "--database-url", empty_database_url)
    assert "It is a backup of database test_" in refused.err


def test_a_backup_that_cannot_be_restored_is_refused_before_anything_is_backed_up(
    fastzero: Run, database: str, backups: Callable[[], list[str]]
) -> None:
    (taken,) = records(fastzero("db", "backup", "--name", "one", "-o", "json"))
    damaged = bytearray(Path(taken["file"]).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    Path(taken["file"]).write_bytes(damaged)
    refused = fastzero("db", "restore", "one", "--yes")
    assert (refused.code, backups()) == (2, ["one"])
    assert "To undo" not in refused.err


def test_undo_puts_the_database_before_back(
    fastzero: Run, todo: Callable[[str], None], titles: Callable[[], list[str]]
) -> None:
    fastzero("db", "backup", "--name", "one")
    todo("after")
    fastzero("db", "restore", "one", "--yes", "--no-backup")
    assert titles() == []
    assert fastzero("db", "restore", "--undo", "--yes").code == 0
    assert titles() == ["after"]


def test_restore_asks(fastzero: Run, todo: Callable[[str], None], titles: Callable[[], list[str]]) -> None:
    fastzero("db", "backup", "--name", "one")
    todo("after")
    assert fastzero("db", "restore", "one").code == 2
    with Terminal("db", "restore", "one") as terminal:
        terminal.wait_for("[y/N]: ")
        terminal.type("n\n")
        assert terminal.end().code == 1
    assert titles() == ["after"]


@pytest.mark.slow
def test_an_older_schema_is_migrated_after_asking(fastzero: Run, database: str) -> None:
    migrate.down(database, "0001")
    fastzero("db", "backup", "--name", "old")
    migrate.up(database)
    with Terminal("db", "restore", "old") as terminal:
        terminal.wait_for("will be migrated to head")
        terminal.wait_for("[y/N]: ")
        terminal.type("y\n")
        assert terminal.end().code == 0
    assert fastzero("migrate", "check").code == 0


def test_a_newer_schema_is_refused_with_exit_7(fastzero: Run, sql: Callable[[str], None]) -> None:
    sql("UPDATE alembic_version SET version_num = '9999'")
    fastzero("db", "backup", "--name", "newer")
    assert fastzero("db", "restore", "newer", "--yes").code == 7


@pytest.mark.parametrize("words", [[], ["one", "--undo"], ["nothing"]])
def test_restore_must_be_told_what(words: list[str], fastzero: Run, database: str) -> None:
    assert fastzero("db", "restore", *words, "--yes").code in (2, 3)


def test_restore_into_an_empty_database(
    fastzero: Run, ana: User, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (taken,) = records(fastzero("db", "backup", "--name", "one", "-o", "json"))
    assert fastzero("db", "restore", "one", "--into-empty", "--yes").code == 4
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert fastzero("db", "restore", taken["file"], "--into-empty", "--yes").code == 0
    assert [user["username"] for user in records(fastzero("user", "list", "-o", "json"))] == ["ana"]


# -- what backs up first ---------------------------------------------------------------------------------------


def test_reset_empties_the_database_and_leaves_a_way_back(
    fastzero: Run, todo: Callable[[str], None], titles: Callable[[], list[str]]
) -> None:
    todo("before")
    assert fastzero("db", "reset").code == 2
    result = fastzero("db", "reset", "--yes")
    assert titles() == []
    fastzero("db", "restore", WAY_BACK.findall(result.err)[0], "--yes")
    assert titles() == ["before"]


@pytest.mark.parametrize("words", [["user", "rm", "ana"], ["migrate", "down", "base"], ["db", "reset"]])
def test_what_loses_data_backs_up_first(
    words: list[str], fastzero: Run, ana: User, backups: Callable[[], list[str]]
) -> None:
    result = fastzero(*words, "--yes")
    assert result.code == 0
    (name,) = backups()
    assert WAY_BACK.findall(result.err) == [name]
    assert fastzero("db", "restore", name, "--yes", "--no-backup").code == 0
    assert fastzero("user", "show", "ana").code == 0


@pytest.mark.parametrize("words", [["user", "rm", "ana"], ["migrate", "down", "base"], ["db", "reset"]])
def test_no_backup_means_none(words: list[str], fastzero: Run, ana: User, backups: Callable[[], list[str]]) -> None:
    assert fastzero(*words, "--yes", "--no-backup").code == 0
    assert backups() == []


def test_where_no_backup_can_be_had_nothing_is_lost(fastzero: Run, ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(os.environ["FASTZERO_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    (home / "backups").write_text("in the way")
    result = fastzero("user", "rm", "ana", "--yes")
    assert result.code == 6
    assert "--no-backup" in result.err
    assert fastzero("user", "show", "ana").code == 0


# -- shell, url, stats -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_shell_is_psql_on_the_database(ana: User) -> None:
    result = script("db", "shell", "--", "-Atc", "SELECT username FROM users")
    assert (result.code, result.out) == (0, "ana\n")
    assert script("db", "shell", "--", "-c", "SELECT nothing").code == 1


@pytest.mark.slow
@pytest.mark.parametrize("words", [("postgres",), ("-d", "postgres"), ("--dbname=postgres",)])
def test_shell_goes_to_another_database_of_the_server_where_its_arguments_say_so(
    words: tuple[str, ...], database: str
) -> None:
    result = script("db", "shell", "--", *words, "-Atc", "SELECT current_database()")
    assert (result.code, result.out) == (0, "postgres\n")


def test_url_hides_the_password_until_it_is_asked_for(fastzero: Run, database: str) -> None:
    hidden, shown = fastzero("db", "url").out.strip(), fastzero("db", "url", "--password").out.strip()
    assert shown == database
    assert hidden == re.sub(r":[^:@/]*@", "@", database)


def test_stats_are_one_object(fastzero: Run, todo: Callable[[str], None]) -> None:
    todo("one")
    stats = records(fastzero("db", "stats", "-o", "json"))
    assert stats["revision"] == HEAD
    assert stats["size"] > 0
    assert stats["connections"] >= 1
    assert {table["table"] for table in stats["tables"]} == TABLES
    assert "ix_todos_state" in {index["index"] for index in stats["indexes"]}


def test_stats_are_one_screen(fastzero: Run, ana: User) -> None:
    result = fastzero("db", "stats", terminal=100)
    assert len(result.out.splitlines()) <= 40
    assert "oldest transaction" in result.out
    assert "MiB" in result.out


# -- migrate ---------------------------------------------------------------------------------------------------

REVISION = f'''
"""wider"""
from alembic import op
revision = "{NEW}"
down_revision = "{HEAD}"
def upgrade() -> None:
    op.execute("ALTER TABLE todos ALTER COLUMN title TYPE varchar(300)")
    op.execute("CREATE INDEX ix_more ON users (created_at)")
def downgrade() -> None:
    op.execute("DROP INDEX ix_more")
'''


@pytest.fixture
def pending(database: str, migrations_copy: Path) -> Path:
    """A revision that locks, and is not applied."""
    path = migrations_copy / "versions" / f"{NEW}_wider.py"
    path.write_text(REVISION)
    return path


def test_check_lints_what_is_pending(fastzero: Run, pending: Path) -> None:
    result = fastzero("migrate", "check", "-o", "json")
    assert result.code == 7
    assert [finding["rule"] for finding in json.loads(result.out)] == ["changes-type", "index-not-concurrent"]


def test_a_rehearsal_tells_what_each_revision_locks(fastzero: Run, ana: User, pending: Path) -> None:
    result = fastzero("migrate", "up", "--rehearse", "-o", "json")
    assert records(result)["current"] == NEW
    (told, applied, verdict) = [line for line in result.err.splitlines() if not line.startswith(("✓ Re", "✓ Row"))]
    assert re.fullmatch(
        rf"On a copy: ↑ {NEW} wider · \d\.\d\d s, locked todos: reading and writing, users: writing", told
    )
    assert applied.startswith(f"↑ {NEW} wider")
    assert verdict == f"✓ The schema is at head: {NEW}"


def test_locks_that_a_revision_lets_go_in_between_are_told_too(fastzero: Run, ana: User, pending: Path) -> None:
    alone = "    with op.get_context().autocommit_block():\n"
    more = "        op.execute('CREATE INDEX CONCURRENTLY ix_again ON users (updated_at)')\n"
    pending.write_text(REVISION.replace("def downgrade", f"{alone}{more}def downgrade"))
    result = fastzero("migrate", "up", "--rehearse")
    assert "locked todos: reading and writing, users: writing" in result.err


def test_a_rehearsal_that_fails_changes_nothing(fastzero: Run, ana: User, pending: Path) -> None:
    pending.write_text(REVISION.replace("ON users (created_at)", "ON users (nothing)"))
    failed = fastzero("migrate", "up", "--rehearse")
    assert failed.code == 7
    assert "Error: on the copy a revision failed: " in failed.err
    assert "The database was not changed" in failed.err
    assert records(fastzero("migrate", "status", "-o", "json"))["current"] == HEAD


# -- at a terminal ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_terminal_sees_how_far_a_restore_is(fastzero: Run, ana: User, sql: Callable[[str], None]) -> None:
    sql("INSERT INTO todos (user_id, title) SELECT id, md5(n::text) FROM users, generate_series(1, 50000) n")
    fastzero("db", "backup", "--name", "one")
    with Terminal("db", "restore", "one", "--yes", "--no-backup") as terminal:
        terminal.wait_for("Checking the backup ━")
        terminal.wait_for("Restoring the rows")
        terminal.wait_for("Comparing the rows")
        assert terminal.end().code == 0


def test_elsewhere_the_verdict_alone_is_told_of_what_takes_no_time(ana: User) -> None:
    told = script("db", "backup", "--name", "one").err
    assert re.fullmatch(r"(✓ Rows \w+ · [^\n]*\n)*✓ Backup taken: one · 2 rows · \d+\.\d KiB\n", told), told
