"""An application's own Alembic, by its files."""

from pathlib import Path

import pytest

from fastzero_core.application.description import AlembicCommand
from fastzero_core.application.migrations import AlembicProject, alembic_command, alembic_project, has_alembic
from tests.application.folders import revision, write_files


def project(folder: Path, files: dict[str, str], command: AlembicCommand | None = None) -> AlembicProject:
    found = alembic_project(write_files(folder, files), command)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("alembic upgrade head", AlembicCommand()),
        ("alembic upgrade heads", AlembicCommand(target="heads")),
        ("alembic -c db/a.ini upgrade head", AlembicCommand("db/a.ini")),
        ("alembic --config=db/a.ini -n main upgrade head", AlembicCommand("db/a.ini", "main")),
        ("alembic -x tenant=a upgrade head", AlembicCommand()),
        ("uv run alembic upgrade head", AlembicCommand()),
        ("poetry run alembic upgrade head", AlembicCommand()),
        ("python -m alembic upgrade head", AlembicCommand()),
        (".venv/bin/alembic upgrade head", AlembicCommand()),
        ("alembic downgrade -1", None),
        ("python manage.py migrate", None),
        ("alembic upgrade head && python seed.py", None),
        ("alembic 'upgrade", None),
    ],
)
def test_a_command_that_upgrades_is_understood(command: str, parts: AlembicCommand | None) -> None:
    assert alembic_command(command) == parts


@pytest.mark.parametrize(
    ("files", "script_folder"),
    [
        ({"alembic.ini": "[alembic]\nscript_location = db", "db/env.py": ""}, "db"),
        ({"alembic.ini": "[alembic]\nscript_location = %(here)s/db", "db/env.py": ""}, "db"),
        ({"alembic.ini": "[alembic]\nscript_location = app:db", "app/db/env.py": ""}, "app/db"),
        ({"pyproject.toml": "[tool.alembic]\nscript_location = 'db'", "db/env.py": ""}, "db"),
        ({"pyproject.toml": "[tool.alembic]\nscript_location = '%(here)s/db'", "db/env.py": ""}, "db"),
    ],
    ids=["ini", "here", "package", "pyproject", "pyproject and here"],
)
def test_its_scripts_are_found(files: dict[str, str], script_folder: str, tmp_path: Path) -> None:
    assert project(tmp_path, files).script_folder == tmp_path / script_folder
    assert has_alembic(tmp_path)


def test_a_percent_sign_in_the_ini_is_no_mistake(tmp_path: Path) -> None:
    ini = "[alembic]\nscript_location = db\nsqlalchemy.url = postgresql://a:p%40@b/c\nfile_template = %%(rev)s\n"
    assert project(tmp_path, {"alembic.ini": ini, "db/env.py": ""}).revisions == ()


def test_heads_are_what_no_other_revision_follows(tmp_path: Path) -> None:
    files = {
        "alembic.ini": "[alembic]\nscript_location = db",
        "db/versions/1.py": revision("1"),
        "db/versions/2.py": revision("2", "1"),
        "db/versions/3.py": revision("3", "1"),
        "db/versions/4.py": 'revision: str = "4"\ndown_revision: tuple = ("2", "3")\nbranch_labels = ("shop",)\n',
        "db/versions/notes.py": "x = 1\n",
    }
    found = project(tmp_path, files)
    assert found.heads == ("4",)
    assert [(each.revision, each.down, each.labels) for each in found.revisions][-1] == ("4", ("2", "3"), ("shop",))


def test_revisions_may_lie_in_several_folders(tmp_path: Path) -> None:
    files = {
        "alembic.ini": "[alembic]\nscript_location = db\nversion_locations = a:b\npath_separator = os\n",
        "db/env.py": "",
        "a/1.py": revision("1"),
        "b/2.py": revision("2", "1"),
    }
    assert [each.revision for each in project(tmp_path, files).revisions] == ["1", "2"]


def test_revisions_may_lie_in_folders_below(tmp_path: Path) -> None:
    files = {
        "alembic.ini": "[alembic]\nscript_location = db\nrecursive_version_locations = true\n",
        "db/versions/2024/1.py": revision("1"),
    }
    assert project(tmp_path, files).heads == ("1",)


@pytest.mark.parametrize(
    "env",
    [
        "context.configure(version_table='revisions', version_table_schema='shop')",
        "TABLE = 'revisions'\nSCHEMA = 'shop'\ncontext.configure(version_table=TABLE, version_table_schema=SCHEMA)",
    ],
    ids=["at once", "by constants"],
)
def test_where_the_revision_is_kept_is_read_from_env_py(env: str, tmp_path: Path) -> None:
    found = project(tmp_path, {"alembic.ini": "[alembic]\nscript_location = db", "db/env.py": env})
    assert (found.version_table, found.version_table_schema) == ("revisions", "shop")


def test_an_asynchronous_env_py_is_told_apart(tmp_path: Path) -> None:
    ini = {"alembic.ini": "[alembic]\nscript_location = db"}
    assert not project(tmp_path, {**ini, "db/env.py": "from sqlalchemy import engine_from_config"}).is_async
    assert project(
        tmp_path, {**ini, "db/env.py": "from sqlalchemy.ext.asyncio import async_engine_from_config"}
    ).is_async


def test_a_folder_without_scripts_has_no_alembic(tmp_path: Path) -> None:
    assert alembic_project(tmp_path) is None
    assert not has_alembic(tmp_path)
