"""What the rounds found, as a table, and its place in the manual."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .rounds import Outcome
from .scenarios import RUNTIMES, SCENARIOS

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- made by `poe faults --write` -->", "<!-- end of what `poe faults --write` made -->"
HEAD = (
    "runtime",
    "fault",
    "rounds",
    "acknowledged",
    "lost",
    "more than once",
    "refused",
    "longest outage",
    "next `up` converged",
    "left over",
)


@dataclass
class Line:
    """All rounds of one scenario in one runtime."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    duplicated: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    longest_outage: float = 0.0
    converged: int = 0
    leftovers: int = 0

    def add(self, outcome: Outcome) -> None:
        self.rounds += 1
        self.acknowledged += outcome.acknowledged
        self.lost += len(outcome.verdict.lost) + len(outcome.verdict.altered)
        self.duplicated += len(outcome.verdict.duplicated)
        self.refusals += outcome.refusals
        self.longest_outage = max(self.longest_outage, outcome.longest_outage)
        self.converged += not (outcome.failure or outcome.not_converged)
        self.leftovers += len(outcome.leftovers)

    def cells(self) -> list[str]:
        refused = ", ".join(f"{kind} × {times:,}" for kind, times in sorted(self.refusals.items()))
        converged = "yes" if self.converged == self.rounds else f"{self.converged} of {self.rounds}"
        outage = f"{self.longest_outage:.0f} s"
        numbers = (self.rounds, self.acknowledged, self.lost, self.duplicated)
        return [*(f"{each:,}" for each in numbers), refused, outage, converged, str(self.leftovers)]


def table(outcomes: Iterable[Outcome]) -> str:
    """A line a scenario and runtime, in the order of the scenarios, and their sum."""
    lines: dict[tuple[str, str], Line] = {}
    total = Line()
    for outcome in outcomes:
        lines.setdefault((outcome.round.runtime, outcome.round.scenario), Line()).add(outcome)
        total.add(outcome)
    order = [(runtime, scenario.name) for runtime in RUNTIMES for scenario in SCENARIOS]
    rows = [[*key, *lines[key].cells()] for key in order if key in lines]
    return _markdown(HEAD, [*rows, ["", "**all**", *total.cells()]])


def page(title: str, outcomes: Sequence[Outcome], not_run: Mapping[tuple[str, str], str]) -> str:
    """What the manual says of a run: the table, what was not run and why, and what each fault is."""
    reasons = _markdown(("runtime", "fault", "not run"), [[*key, reason] for key, reason in not_run.items()])
    faults = _markdown(("fault", "what is done"), [[each.name, each.what] for each in SCENARIOS])
    return "\n\n".join([title, table(outcomes), *([reasons] if not_run else []), "## The faults", faults])


def write(text: str) -> None:
    """Put it in its place in the manual."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
