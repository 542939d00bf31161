"""What the fault suite says of its rounds."""

from collections import Counter

import pytest

from tests.faults import report
from tests.faults.ledger import Verdict
from tests.faults.rounds import Outcome
from tests.faults.scenarios import SCENARIOS
from tests.faults.schedule import Round


def outcome(**found: object) -> Outcome:
    made = Outcome(Round("embedded", "kill app", 1, ""), acknowledged=100)
    for name, value in found.items():
        setattr(made, name, value)
    return made


def test_a_sound_round_has_no_problems() -> None:
    assert outcome(refusals=Counter({"503": 3}), longest_outage=9.0).problems == []


@pytest.mark.parametrize(
    "found",
    [
        {"verdict": Verdict(lost=("write-1",))},
        {"verdict": Verdict(duplicated=("write-1",))},
        {"verdict": Verdict(altered=("write-1",))},
        {"verdict": Verdict(unknown=("write-1",))},
        {"unexpected": frozenset({"500"})},
        {"leftovers": ["container a-new"]},
        {"not_converged": "`up` would: start process app"},
        {"failure": "TimeoutError"},
    ],
    ids=str,
)
def test_whatever_is_wrong_is_a_problem(found: dict[str, object]) -> None:
    assert len(outcome(**found).problems) == 1


def test_the_table_adds_the_rounds_of_a_fault_up() -> None:
    rounds = [
        outcome(refusals=Counter({"503": 2}), longest_outage=1.2),
        outcome(refusals=Counter({"503": 1, "closed": 4}), longest_outage=3.1, verdict=Verdict(lost=("write-1",))),
        outcome(not_converged="`up` would: start process app", leftovers=["folder moving"]),
    ]
    table = report.table(rounds)
    assert "| embedded | kill app | 3 | 300 | 1 | 0 | 503 × 3, closed × 4 | 3 s | 2 of 3 | 1 |" in table


def test_the_manual_lists_every_fault() -> None:
    manual = report.PAGE.read_text(encoding="utf-8")
    assert [each.name for each in SCENARIOS if f"| {each.name} | {each.what} |" not in manual] == []
