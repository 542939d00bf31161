"""What SECURITY.md says: the tests that it names exist, and what it says of files is so."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([a-z0-9_/]+\.py)::(test_\w+)`", PAGE)))
WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))


def rows(heading: str) -> list[list[str]]:
    """The cells of every row below a heading, without those of tables' heads."""
    section = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| item")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_every_test_that_is_named_exists(file: str) -> None:
    source = (CHECKOUT / "tests" / file).read_text(encoding="utf-8")
    tests = set(re.findall(r"^(?:async )?def (test_\w+)", source, flags=re.MULTILINE))

    assert {test for named, test in NAMED if named == file} <= tests


def test_no_test_is_named_in_another_form() -> None:
    assert len(re.findall(r"\btest_\w+`", PAGE)) == len(re.findall(r"`[a-z0-9_/]+\.py::test_\w+`", PAGE))


def test_of_the_applicable_items_of_the_asvs_as_many_are_met_as_it_says() -> None:
    section = PAGE.partition("\n## OWASP ASVS")[2].partition("\nNot applicable:\n")[0]
    not_met, _, met = section.partition("\nMet:\n")
    missing, held = (len(re.findall(r"^\| \d", part, flags=re.MULTILINE)) for part in (not_met, met))

    assert f"of {missing + held}\nitems that apply, {held} are met" in section
    assert held >= 0.95 * (missing + held)


def test_every_item_of_docker_bench_is_there() -> None:
    named = [item for row in rows("Docker Bench") for item in row[0].split(", ")]
    items = [f"4.{number}" for number in range(1, 13)] + [f"5.{number}" for number in range(1, 33)]

    assert sorted(named) == sorted(items)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_their_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))

    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_the_repository_and_no_more(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")

    assert "\npermissions:\n  contents: read\n" in text
    assert text.count("permissions:") == 1


def test_the_dockerfile_keeps_to_what_is_said_of_it() -> None:
    lines = (CHECKOUT / "docker" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    instructions = {line.split()[0] for line in lines if re.match(r"[A-Z]+ ", line)}

    assert not instructions & {"ADD", "ONBUILD", "VOLUME"}
    assert not [line for line in lines if re.search(r"\b(apt|apt-get|apk|curl|wget)\b", line)]
    assert lines.index("USER 10001:10001") > max(number for number, line in enumerate(lines) if line.startswith("RUN"))
