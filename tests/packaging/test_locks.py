"""The locks of the image and of the tests: what they hold, and that they fit what the project asks for."""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[2]
IMAGE, TESTS = CHECKOUT / "docker" / "requirements.txt", CHECKOUT / "tests" / "requirements.txt"
ARCHIVE = CHECKOUT / "tests" / "requirements-archive.txt"
HA = CHECKOUT / "docker" / "ha" / "requirements.txt"
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = pytest.mark.parametrize("lock", [IMAGE, TESTS], ids=["image", "tests"])
ARCHIVER = CHECKOUT / "docker" / "archiver-requirements.txt"
ALL_LOCKS = pytest.mark.parametrize(
    "lock", [IMAGE, TESTS, ARCHIVE, ARCHIVER, HA], ids=["image", "tests", "archive", "archiver", "ha"]
)
RENEW = "run: poe lock"
NOT_IN_IMAGE = set(PROJECT["tool"]["poe"]["tasks"]["lock"]["env"]["NOT_IN_IMAGE"].split())


def entries(lock: Path) -> list[str]:
    """Each locked package with its hashes, in one line."""
    text = re.sub(r"^#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return text.replace("\\\n", " ").splitlines()


def versions(lock: Path) -> dict[str, str]:
    found = (re.match(r"([a-z0-9-]+)==(\S+)", entry) for entry in entries(lock))
    return {match[1]: match[2] for match in found if match}


def needed(requirements: list[str]) -> Iterator[Requirement]:
    """The requirements and all that they need in turn, as installed here."""
    waiting, seen = [Requirement(each) for each in requirements], set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen or not applies(requirement, {""}):
            continue
        seen.add(str(requirement))
        yield requirement
        for line in metadata.requires(requirement.name) or []:
            inner = Requirement(line)
            if applies(inner, requirement.extras or {""}):
                inner.marker = None
                waiting.append(inner)


def applies(requirement: Requirement, extras: set[str]) -> bool:
    return not requirement.marker or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)


@ALL_LOCKS
def test_every_package_has_one_version_and_the_hashes_of_its_files(lock: Path) -> None:
    for entry in entries(lock):
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; [^-]+?)?( +--hash=sha256:[0-9a-f]{64})+", entry), entry


@ALL_LOCKS
def test_no_lock_names_where_packages_come_from(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")

    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host| @ ", text)


@LOCKS
def test_a_lock_fits_what_the_project_asks_for(lock: Path) -> None:
    locked = versions(lock)
    asked = [Requirement(each) for each in PROJECT["project"]["dependencies"]]

    for requirement in asked:
        name = canonicalize_name(requirement.name)
        if name not in NOT_IN_IMAGE:
            assert requirement.specifier.contains(locked.get(name, "")), f"{requirement}: {RENEW}"


def test_the_lock_of_the_image_has_everything_that_the_app_needs() -> None:
    asked = [each for each in PROJECT["project"]["dependencies"] if Requirement(each).name not in NOT_IN_IMAGE]
    names = {canonicalize_name(requirement.name) for requirement in needed(asked)}

    assert names - NOT_IN_IMAGE <= versions(IMAGE).keys(), RENEW


def test_the_lock_of_the_image_has_neither_a_postgresql_nor_tools() -> None:
    assert not versions(IMAGE).keys() & {*NOT_IN_IMAGE, "pytest", "mypy", "ruff", "uv", "fastzero"}


def test_the_lock_of_the_tests_has_everything_that_the_tests_need() -> None:
    groups = PROJECT["dependency-groups"]
    own = ("archive", "archiver", "ha")  # with locks of their own
    named = [group for name, group in groups.items() if name not in own]
    tools = [each for group in named for each in group if isinstance(each, str)]
    names = {canonicalize_name(requirement.name) for requirement in needed(tools)}

    assert names <= versions(TESTS).keys(), RENEW


def test_the_lock_of_archives_fits_its_group_and_the_extra() -> None:
    group = PROJECT["dependency-groups"]["archive"]
    assert {*PROJECT["project"]["optional-dependencies"]["archive"]} <= {*group}
    for requirement in map(Requirement, group):
        assert requirement.specifier.contains(versions(ARCHIVE)[requirement.name]), RENEW


def test_the_lock_of_a_database_with_standbys_fits_its_group() -> None:
    locked = versions(HA)

    for requirement in map(Requirement, PROJECT["dependency-groups"]["ha"]):
        assert requirement.specifier.contains(locked[requirement.name]), RENEW
    assert not locked.keys() & set(PROJECT["tool"]["poe"]["tasks"]["lock"]["env"]["NOT_IN_HA"].split())


def test_the_lock_of_the_archiver_s_image_has_no_driver_that_must_be_compiled_and_the_versions_of_the_tests() -> None:
    group = PROJECT["dependency-groups"]["archiver"]
    for requirement in map(Requirement, group):
        assert requirement.specifier.contains(versions(ARCHIVER)[requirement.name]), RENEW
    assert "psycopg2" not in versions(ARCHIVER)
    assert {*versions(ARCHIVER).items()} - {*versions(ARCHIVE).items()} == {
        ("psycopg2-binary", versions(ARCHIVER)["psycopg2-binary"])
    }


def test_the_tests_run_with_the_versions_of_the_image() -> None:
    assert versions(IMAGE).items() <= versions(TESTS).items(), RENEW
