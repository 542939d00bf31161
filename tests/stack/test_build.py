"""What is sent to the builder of an application's image, and how its programs are found inside."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from fastzero_core.stack.docker.build import GENERATED, context
from fastzero_core.stack.docker.containers import PATH_SCRIPT
from fastzero_core.stack.spec import Build
from tests.application.folders import write_files


def sent(build: Build) -> dict[str, bytes]:
    """The files that the builder gets, by name."""
    with context(build) as archive, tarfile.open(fileobj=archive) as tar:
        files = {entry.name: tar.extractfile(entry) for entry in tar if entry.isfile()}
        return {name: file.read() for name, file in files.items() if file}


@pytest.mark.parametrize("dockerfile", [Build("", "Dockerfile"), Build("", "FROM scratch\n", is_text=True)])
def test_the_context_begins_with_a_plain_header_by_which_buildx_knows_an_archive(
    dockerfile: Build, tmp_path: Path
) -> None:
    files = {f"{'a' * 120}/{'b' * 120}.py": "", "Dockerfile": "FROM scratch\n", "app.py": "VERSION = 1\n"}
    write_files(tmp_path, files)
    for path in tmp_path.rglob("*"):
        os.utime(path, (1_700_000_000.5, 1_700_000_000.5))  # half a second needs more than a plain header

    with context(Build(str(tmp_path), dockerfile.dockerfile, dockerfile.is_text)) as archive:
        first = tarfile.TarInfo.frombuf(os.pread(archive.fileno(), tarfile.BLOCKSIZE, 0), "utf-8", "strict")
        assert os.lseek(archive.fileno(), 0, os.SEEK_CUR) == 0

    assert first.type in (tarfile.REGTYPE, tarfile.DIRTYPE)


def test_the_context_has_every_file_and_the_generated_dockerfile(tmp_path: Path) -> None:
    long = f"{'a' * 120}/{'b' * 120}.py"
    write_files(tmp_path, {long: "x\n", "app.py": "y\n", ".env": "SECRET=1\n"})

    assert sent(Build(str(tmp_path), "FROM scratch\n", is_text=True)) == {
        long: b"x\n",
        "app.py": b"y\n",
        GENERATED: b"FROM scratch\n",
    }


@pytest.mark.parametrize(
    ("line", "is_sent"),
    [
        ("COPY .env app/", True),
        ("add ./.env /srv/", True),
        ("COPY . .", False),
        ("COPY --from=settings .env app/", False),
        ("RUN touch .env", False),
    ],
)
def test_a_file_that_is_left_out_is_sent_if_the_dockerfile_copies_it_by_name(
    line: str, is_sent: bool, tmp_path: Path
) -> None:
    write_files(tmp_path, {"Dockerfile": f"FROM scratch\n{line}\n", ".env": "LEVEL=1\n", ".venv/pyvenv.cfg": ""})

    found = sent(Build(str(tmp_path), "Dockerfile"))

    assert (".env" in found) is is_sent
    assert ".venv/pyvenv.cfg" not in found


def test_a_dockerignore_decides_alone(tmp_path: Path) -> None:
    files = {"Dockerfile": "FROM scratch\nCOPY .env .\n", ".dockerignore": ".env\n", ".env": "LEVEL=1\n"}

    assert ".env" not in sent(Build(str(write_files(tmp_path, files)), "Dockerfile"))


def test_programs_of_an_environment_in_the_images_folder_come_first(tmp_path: Path) -> None:
    programs = tmp_path / ".venv" / "bin"
    write_files(tmp_path, {".venv/bin/tool": "#!/bin/sh\necho ours\n", ".venv/bin/python": "#!/bin/sh\n"})
    (programs / "tool").chmod(0o755)

    def runs() -> subprocess.CompletedProcess[str]:
        command = ["/bin/sh", "-c", f"set -a\n{PATH_SCRIPT}set +a\nexec tool"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert runs().returncode == 127  # its python is not a program: the environment is of another machine
    (programs / "python").chmod(0o755)
    assert runs().stdout == "ours\n"
