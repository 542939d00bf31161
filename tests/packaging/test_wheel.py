"""What is in the wheel, and that it works on its own, away from the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without an environment of its own from a copy of what is in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "dist", "build")
    source = Path(shutil.copytree(CHECKOUT, folder / "source", ignore=ignored))
    subprocess.run([sys.executable, "-m", "tests.manual", "--without-pictures"], cwd=source, check=True)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel and, from this one, what it depends on."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(place)}))
    zipfile.ZipFile(wheel).extractall(packages)
    # Behind the wheel, and without this environment's own editable install of the checkout.
    packages.joinpath("dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin" / "python"


@pytest.fixture(autouse=True)
def no_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the wheel's Python imports is the wheel, also where a checkout is on the search path."""
    monkeypatch.delenv("PYTHONPATH", raising=False)


def test_it_holds_packages_and_migrations_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fastzero_cli", "fastzero_core"}
    assert "fastzero_core/migrations/env.py" in names
    assert "fastzero_core/migrations/script.py.mako" in names
    assert "fastzero_core/migrations/versions/0002_todos.py" in names
    assert "fastzero_core/todo_app/common_passwords.txt" in names
    assert "fastzero_core/py.typed" in names
    assert "fastzero_cli/board/board.tcss" in names
    built = ("Dockerfile", "requirements.txt", "archiver.Dockerfile", "archiver-requirements.txt")
    assert {f"fastzero_core/docker/{name}" for name in built} <= set(names)
    assert "fastzero_core/application/schema.json" in names
    assert "fastzero_core/application/example/files/tests/conftest.py.template" in names
    manual = ("fastzero_core/docs/", "fastzero_core/manual/")
    assert {f"{folder}{language}/how-to/backups" for folder in manual for language in ("en", "pt")} <= {
        name.rpartition(".")[0] for name in names
    }
    ours = [
        name
        for name in names
        if not name.endswith(".template") and name != "fastzero_core/testing.py" and not name.startswith(manual)
    ]
    assert not [name for name in ours if "test" in name or name.endswith((".pyc", ".toml"))]


def test_it_has_the_console_script_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "fastzero = fastzero_cli.__main__:run" in archive.read(entry_points).decode()
        assert [name for name in archive.namelist() if name.endswith("LICENSE")]


def test_from_the_wheel_the_whole_journey_works(installed: Path, folder: Path) -> None:
    home = folder / "elsewhere"
    home.mkdir(mode=0o755)

    def fastzero(*arguments: str, text: str = "") -> str:
        run = subprocess.run(
            [str(installed), "-m", "fastzero_cli", *arguments],
            cwd=folder,
            env={**os.environ, "FASTZERO_HOME": str(home)},
            input=text,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    where = [str(installed), "-c", "import fastzero_core; print(fastzero_core.__file__)"]
    assert (
        str(installed.parents[1])
        in subprocess.run(where, capture_output=True, text=True, cwd=folder, check=True).stdout
    )
    try:
        fastzero("up")
        fastzero("user", "add", "ana", "-e", "ana@example.com", "--password-stdin", text="correct horse\n")
        fastzero("todo", "add", "Write the report")
        fastzero("todo", "done", "1")
        fastzero("migrate", "check")
        before = fastzero("todo", "list", "-o", "json")
        fastzero("down")
        fastzero("up")
        assert fastzero("todo", "list", "-o", "json") == before
    finally:
        fastzero("down", "--volumes", "--yes")


def test_from_the_wheel_the_manual_is_found(installed: Path, folder: Path) -> None:
    command = [str(installed), "-m", "fastzero_cli", "docs", "tutorial", "--path", "--language", "pt"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    page = Path(run.stdout.strip())

    assert page.is_relative_to(installed.parents[1])
    assert "Em dez minutos" in page.read_text("utf-8")


def test_from_the_wheel_the_image_has_the_same_locked_packages(installed: Path) -> None:
    code = "from fastzero_core.stack.docker import image; print(image.context_files()['requirements.txt'].decode())"
    run = subprocess.run([str(installed), "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == (CHECKOUT / "docker" / "requirements.txt").read_text().strip()


def test_from_the_wheel_nobody_adds_a_revision(installed: Path, folder: Path) -> None:
    migrations = list(installed.parents[1].rglob("fastzero_core/migrations/versions/*.py"))
    command = [str(installed), "-m", "fastzero_cli", "migrate", "new", "Add colours"]
    refused = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "part of the installed package" in refused.stderr
    assert migrations
    assert sorted(installed.parents[1].rglob("fastzero_core/migrations/versions/*.py")) == sorted(migrations)
