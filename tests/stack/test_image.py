"""The build context of the app's image: what goes in, and the name that follows from it. Without an engine."""

import io
import tarfile
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from fastzero_core import __version__
from fastzero_core.stack.docker import image

BASE = "python:3.13-slim"


@pytest.fixture
def files() -> dict[str, bytes]:
    return image.context_files()


def test_the_context_has_both_packages_the_migrations_and_a_program(files: dict[str, bytes]) -> None:
    assert {
        "Dockerfile",
        "requirements.txt",
        "app/bin/fastzero",
        "app/fastzero_core/__init__.py",
        "app/fastzero_cli/main.py",
        "app/fastzero_core/migrations/env.py",
    } <= files.keys()


def test_the_context_has_no_byte_code_and_nothing_of_the_checkout_besides(files: dict[str, bytes]) -> None:
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
    tops = {"/".join(name.split("/")[:2]) for name in files}
    assert tops == {
        "Dockerfile",
        "requirements.txt",
        "app/bin",
        "app/fastzero_core",
        "app/fastzero_cli",
    }


def test_the_context_has_no_manual(files: dict[str, bytes]) -> None:
    manual = {name for name in files if name.endswith((".html", ".md", ".svg"))}
    assert {name for name in manual if "/todo_app/api/page/" not in name} == set()


def test_the_context_has_nothing_that_is_for_tests_alone(files: dict[str, bytes]) -> None:
    assert not [name for name in files if "test" in name and not name.endswith(".template")]


def test_dependencies_are_those_of_the_lock_whatever_is_installed_here(files: dict[str, bytes]) -> None:
    assert files["requirements.txt"] == image.build_file("requirements.txt").read_bytes()


def test_no_dependency_is_installed_without_its_hash() -> None:
    assert (
        "install --no-cache-dir --no-compile --no-deps --require-hashes" in image.build_file("Dockerfile").read_text()
    )


def test_the_name_follows_from_the_content() -> None:
    assert image.image_name(BASE) == image.image_name(BASE)
    assert image.image_name(BASE).startswith("fastzero-app:")


def test_another_base_gives_another_name() -> None:
    assert image.image_name("python:3.12-slim") != image.image_name(BASE)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"app/fastzero_core/__init__.py": b"changed"}, id="a changed file"),
        pytest.param({"app/fastzero_core/new.py": b""}, id="an empty file more"),
        pytest.param({"requirements.txt": b"alembic==1.0\n"}, id="another dependency"),
    ],
)
def test_whatever_changes_in_the_context_gives_another_name(
    change: dict[str, bytes], files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = image.image_name(BASE)
    monkeypatch.setattr(image, "context_files", lambda: {**files, **change})

    assert image.image_name(BASE) != before


def test_bytes_that_move_from_one_file_to_another_give_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    for content in ({"a": b"xy", "b": b"z"}, {"a": b"x", "b": b"yz"}, {"a": b"xyz", "b": b""}):
        monkeypatch.setattr(image, "context_files", lambda content=content: content)
        names.append(image.image_name(BASE))

    assert len(set(names)) == 3


def test_the_archive_is_the_same_for_the_same_content_so_that_layers_are_found_again() -> None:
    assert image.context_archive().read() == image.context_archive().read()


def test_the_archive_holds_the_context_and_its_program_can_be_run(files: dict[str, bytes]) -> None:
    with tarfile.open(fileobj=io.BytesIO(image.context_archive().read())) as tar:
        members = {member.name: member.mode for member in tar.getmembers()}

    assert members.keys() == files.keys()
    assert (members["app/bin/fastzero"], members["app/fastzero_core/__init__.py"]) == (0o755, 0o644)


def test_the_build_is_told_base_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)

    assert image.build_arguments(BASE) == {"PYTHON_IMAGE": BASE, "VERSION": __version__}


def test_the_build_is_told_the_package_index_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example/simple")

    assert image.build_arguments(BASE)["PIP_INDEX_URL"] == "https://packages.example/simple"


def test_a_package_index_with_a_password_is_kept_from_the_engine_which_would_keep_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://ana:horse@packages.example/simple")

    assert "PIP_INDEX_URL" not in image.build_arguments(BASE)


def test_the_dockerfile_needs_no_buildkit() -> None:
    lines = image.build_file("Dockerfile").read_text().splitlines()
    instructions = "\n".join(line for line in lines if not line.startswith("#"))

    assert "--mount" not in instructions
    assert "<<" not in instructions
    assert not lines[0].startswith("# syntax")


def test_dependencies_are_a_layer_before_any_code() -> None:
    lines = image.build_file("Dockerfile").read_text().splitlines()
    dependencies = next(number for number, line in enumerate(lines) if line.startswith("COPY requirements.txt"))
    code = next(number for number, line in enumerate(lines) if line.startswith("COPY app"))

    assert dependencies < code


def test_the_entrypoint_is_no_shell_which_would_swallow_signals() -> None:
    assert 'ENTRYPOINT ["fastzero"]' in image.build_file("Dockerfile").read_text().splitlines()


# -- the name, remembered --------------------------------------------------------------------------------------


def test_the_name_is_remembered_so_that_no_file_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    name = image.remembered_name(BASE)
    monkeypatch.setattr(image, "context_files", lambda: pytest.fail("the files were read again"))

    assert image.remembered_name(BASE) == name == image.remembered_name(BASE)


def test_a_remembered_name_is_that_of_the_content() -> None:
    assert image.remembered_name(BASE) == image.image_name(BASE)
    assert image.remembered_name(BASE) == image.image_name(BASE)


def test_a_source_that_changes_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, found = image.remembered_name(BASE), image.sources()
    edited = tmp_path / "Dockerfile"
    edited.write_bytes(found["Dockerfile"].read_bytes() + b"# one more line\n")
    monkeypatch.setattr(image, "sources", lambda: {**found, "Dockerfile": edited})

    assert image.remembered_name(BASE) == image.image_name(BASE) != before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_broken_cache_costs_time_and_no_more(content: bytes) -> None:
    name = image.remembered_name(BASE)
    (user_cache_path("fastzero") / "app-image.json").write_bytes(content)

    assert image.remembered_name(BASE) == name
