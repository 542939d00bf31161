"""How PostgreSQL is told its configuration."""

import subprocess
from pathlib import Path

import pytest

from fastzero_core.parameters import canonical_name
from fastzero_core.postgres.account import ServiceUser
from fastzero_core.postgres.binaries import Binaries
from fastzero_core.postgres.configuration import arguments, initdb_locale


def test_each_setting_is_an_argument_with_its_value() -> None:
    assert arguments({"port": "1", "search_path": "a, b"}) == ["-c", "port=1", "-c", "search_path=a, b"]


def test_the_locale_is_the_builtin_one_where_there_is_one() -> None:
    assert "--locale-provider=builtin" in initdb_locale(17)
    assert initdb_locale(16) == ["--locale=C.UTF-8"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORK-Mem", "8192"), ("work_mem", "8192"), ("Work_Mem", "8192"), ("workmem", ""), (" work_mem", "")],
)
def test_postgresql_takes_the_same_spellings_for_one_setting(
    name: str, value: str, cluster: Path, binaries: Binaries, account: ServiceUser | None
) -> None:
    command = [binaries.program("postgres"), "-D", str(cluster), *arguments({name: "8MB"}), "-C", "work_mem"]
    options = account.popen_options() if account else {}
    assert subprocess.run(command, capture_output=True, text=True, cwd="/", **options).stdout.strip() == value
    assert (canonical_name(name) == "work_mem") == bool(value)
