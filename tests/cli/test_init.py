"""fastzero init: what it says, writes and never overwrites."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastzero_core.application.reading import application_of
from fastzero_core.settings import folder_trust
from tests.application.folders import revision, write_files
from tests.application.test_discover import COURSE

from .conftest import Run, records
from .shell import Terminal

WRITTEN = """\
# The application of this folder, as `fastzero init` found it. Edit it, then run: fastzero up

project = "work"

[application]
asgi = "main:app"  # main.py:3: fastapi object
health = "/health"  # main.py:6: a route for it
"""
APP = """
    from fastapi import FastAPI

    app = FastAPI()


    @app.get("/health")
    def health(): ...
    """


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small application in the working directory."""
    return write_files(Path.cwd(), {"main.py": APP.lstrip("\n")})


def test_it_writes_what_it_found_and_where(small: Path, fastzero: Run) -> None:
    result = fastzero("init")
    assert result.code == 0
    lines = (small / "fastzero.toml").read_text()
    assert lines.startswith(WRITTEN)
    assert "Wrote " in result.err


def test_what_it_writes_is_read_as_an_application(small: Path, fastzero: Run) -> None:
    fastzero("init")
    application = application_of(small)
    assert application is not None
    assert [process.health for process in application.processes] == ["/health"]


@pytest.mark.parametrize("name", ["fastzero.toml", ".fastzero.toml.new"])
def test_it_writes_through_no_link(name: str, small: Path, fastzero: Run, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (small / name).symlink_to(victim)
    assert fastzero("init").code == 0
    assert not victim.exists()
    assert not (small / "fastzero.toml").is_symlink()


def test_its_file_has_the_mode_of_any_new_file(small: Path, fastzero: Run) -> None:
    fastzero("init")
    (small / "another").touch()
    assert (small / "fastzero.toml").stat().st_mode == (small / "another").stat().st_mode


def test_it_prints_the_whole_file(small: Path, fastzero: Run) -> None:
    assert fastzero("init").out == (small / "fastzero.toml").read_text()


def test_a_dry_run_prints_the_file_and_writes_nothing(small: Path, fastzero: Run) -> None:
    result = fastzero("init", "--dry-run")
    assert result.out.startswith("# The application of this folder")
    assert not (small / "fastzero.toml").exists()


def test_json_has_every_finding_and_the_file(small: Path, fastzero: Run) -> None:
    found = records(fastzero("init", "-o", "json", "--dry-run"))
    assert found["changed"] is True
    assert found["text"].startswith("# The application")
    assert {"key": "asgi", "value": "main:app", "where": "main.py:3"}.items() <= found["findings"][0].items()


def test_twice_is_once(small: Path, fastzero: Run) -> None:
    fastzero("init")
    before = (small / "fastzero.toml").stat().st_mtime_ns
    result = fastzero("init")
    assert (result.code, (small / "fastzero.toml").stat().st_mtime_ns) == (0, before)
    assert "Nothing to change" in result.err


def test_comments_may_be_edited(small: Path, fastzero: Run) -> None:
    fastzero("init")
    file = small / "fastzero.toml"
    file.write_text(file.read_text() + "# mine\n")
    assert fastzero("init").code == 0
    assert file.read_text().endswith("# mine\n")


def test_an_edited_file_is_kept_and_the_difference_shown(small: Path, fastzero: Run) -> None:
    fastzero("init")
    file = small / "fastzero.toml"
    file.write_text(file.read_text().replace("main:app", "other:app"))
    result = fastzero("init")
    assert result.code == 4
    assert '-asgi = "other:app"' in result.err
    assert '+asgi = "main:app"' in result.err
    assert "other:app" in file.read_text()


def test_settings_that_are_there_stay_in_front(small: Path, fastzero: Run) -> None:
    (small / "fastzero.toml").write_text('project = "shop"  # ours\n')
    assert fastzero("init").code == 0
    text = (small / "fastzero.toml").read_text()
    assert text.startswith('project = "shop"  # ours\n\n# The application')
    assert fastzero("init").code == 0
    assert (small / "fastzero.toml").read_text() == text


def test_a_compose_file_stays_as_it_is(small: Path, fastzero: Run) -> None:
    write_files(small, {"compose.yml": "services:\n  mail:\n    image: axllent/mailpit\n"})
    result = fastzero("init")
    assert (small / "compose.yml").read_text().endswith("axllent/mailpit\n")
    assert "compose.yml:2: mail (axllent/mailpit) is not run by fastzero" in result.err


def test_another_folder_can_be_named(fastzero: Run, tmp_path: Path) -> None:
    write_files(tmp_path, {"main.py": APP})
    assert fastzero("init", tmp_path).code == 0
    assert (tmp_path / "fastzero.toml").exists()


def test_a_folder_that_does_not_exist_is_told(fastzero: Run) -> None:
    result = fastzero("init", "nowhere")
    assert result.code == 3
    assert "nowhere" in result.err


def test_what_is_not_known_is_a_comment_with_its_reason(fastzero: Run) -> None:
    write_files(Path.cwd(), {"main.py": APP, "s.py": "import os\nKEY = os.environ['API_KEY']\n"})
    fastzero("init")
    assert "# API_KEY = …  # s.py:2: Value of API_KEY" in Path("fastzero.toml").read_text()


def test_a_terminal_is_asked_for_what_is_not_known() -> None:
    write_files(Path.cwd(), {"main.py": APP, "s.py": "import os\nKEY = os.environ['API_KEY']\n"})
    with Terminal("init") as terminal:
        terminal.wait_for("Value of API_KEY")
        terminal.type("k-123\n")
        assert terminal.end().code == 0
    assert 'API_KEY = "k-123"  # your answer' in Path("fastzero.toml").read_text()


def test_an_answer_is_not_asked_for_again() -> None:
    write_files(Path.cwd(), {"main.py": APP, "s.py": "import os\nKEY = os.environ['API_KEY']\n"})
    Path("fastzero.toml").write_text(
        '[application]\nasgi = "main:app"\nhealth = "/health"\n[application.environment]\nAPI_KEY = "k"\n'
    )
    with Terminal("init") as terminal:
        result = terminal.end()
    assert result.code == 0
    assert "Value of" not in result.out


def test_a_head_among_several_is_chosen_by_return() -> None:
    write_files(Path.cwd(), {**COURSE, "migrations/versions/3.py": revision("3", "1")})
    with Terminal("init") as terminal:
        terminal.wait_for("upgrade heads")
        terminal.type("\n")
        assert terminal.end().code == 0
    assert 'migrate = "alembic upgrade heads"' in Path("fastzero.toml").read_text()


# -- trust -----------------------------------------------------------------------------------------------------


def test_what_it_wrote_is_trusted(small: Path, fastzero: Run) -> None:
    fastzero("init")
    assert folder_trust(small).is_given


def test_a_changed_command_is_trusted_no_more(small: Path, fastzero: Run) -> None:
    fastzero("init")
    file = small / "fastzero.toml"
    file.write_text(file.read_text().replace("main:app", "other:app"))
    assert not folder_trust(small).is_given


def test_an_application_that_was_there_is_not_trusted_by_it(small: Path, fastzero: Run) -> None:
    (small / "fastzero.toml").write_text('[application]\nasgi = "main:app"\nhealth = "/health"\n')
    assert "Nothing to change" in fastzero("init").err
    assert not folder_trust(small).is_given


def test_a_folder_with_other_settings_has_to_be_trusted_first(small: Path, fastzero: Run) -> None:
    (small / "fastzero.toml").write_text('postgres_image = "evil:18"\n')
    assert fastzero("init").code == 5
    assert "application" not in (small / "fastzero.toml").read_text()


def test_settings_that_another_source_overrides_are_not_trusted_along_with_it(
    small: Path, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small / "fastzero.toml").write_text('postgres_image = "evil:18"\n')
    monkeypatch.setenv("FASTZERO_POSTGRES_IMAGE", "postgres:18")
    assert "Other settings in this folder need your trust" in fastzero("init").err
    assert not folder_trust(small).is_given


def test_what_a_terminal_would_not_show_is_escaped(fastzero: Run) -> None:
    write_files(Path.cwd(), {"main.py": APP, "Procfile": "worker: celery -A \u202ex\x1b[2J worker\n"})
    out = fastzero("init").out
    assert all(character.isprintable() for character in out.replace("\n", ""))
    application = application_of(Path.cwd())
    assert application is not None
    assert "\u202e" in application.processes[1].command


# -- the example -----------------------------------------------------------------------------------------------


def test_the_example_is_written_with_its_description(fastzero: Run, tmp_path: Path) -> None:
    assert fastzero("init", "--example", tmp_path / "todo").code == 0
    application = application_of(tmp_path / "todo")
    assert application is not None
    assert application.environment == {"DATABASE_URL": "{url:psycopg}"}
    assert application.migrate.command == "alembic upgrade head"


def test_the_example_cannot_be_a_dry_run(fastzero: Run) -> None:
    assert fastzero("init", "--example", "--dry-run").code == 2
    assert list(Path.cwd().iterdir()) == []


def test_the_example_goes_into_an_empty_folder_only(small: Path, fastzero: Run) -> None:
    result = fastzero("init", "--example")
    assert (result.code, sorted(path.name for path in small.iterdir())) == (4, ["main.py"])


def test_the_examples_own_tests_are_green_on_a_migrated_database(
    fastzero: Run, tmp_path: Path, empty_database_url: str
) -> None:
    fastzero("init", "--example", tmp_path / "todo")
    url = empty_database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for words in (["alembic", "upgrade", "head"], ["alembic", "check"], ["pytest", "-q"]):
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path / "todo", env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_examples_python_has_no_fault(fastzero: Run, tmp_path: Path) -> None:
    fastzero("init", "--example", tmp_path / "todo")
    words = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,I,UP", "."]
    done = subprocess.run(words, cwd=tmp_path / "todo", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
