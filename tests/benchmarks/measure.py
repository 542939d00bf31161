"""Samples of two things taken turn by turn, and whether the ratio of their medians keeps its limit."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

PATIENCE = 60  # seconds for one comparison
FEWEST = 3


@dataclass
class Samples:
    """What one side took: `values` in seconds, or in `unit`; `cpu` in seconds, of this process and its children."""

    unit: str = "s"
    values: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        cpu, began = _cpu(), time.perf_counter()
        yield
        self.values.append(time.perf_counter() - began)
        self.cpu.append(_cpu() - cpu)

    @property
    def median(self) -> float:
        return median(self.values)

    def __str__(self) -> str:
        if self.unit != "s":
            return f"{self.median:.1f} {self.unit}"
        return f"{self.median:.2f} s" if self.median >= 1 else f"{self.median * 1000:.2f} ms"


@dataclass
class Comparison:
    """Two sides and the limit: on their ratio or, as `allowance`, on what the measured takes more, in its unit."""

    name: str
    against: str
    limit: float | None = None
    allowance: float | None = None
    reference: Samples = field(default_factory=Samples)
    measured: Samples = field(default_factory=Samples)

    @property
    def ratio(self) -> float:
        return self.measured.median / self.reference.median

    @property
    def excess(self) -> float:
        return self.measured.median - self.reference.median

    @property
    def cpu_ratio(self) -> float | None:
        if not self.reference.cpu:
            return None
        return median(self.measured.cpu) / median(self.reference.cpu)

    @property
    def is_kept(self) -> bool:
        if self.allowance is not None:
            return self.excess <= self.allowance
        return self.limit is None or self.ratio <= self.limit

    @property
    def bound(self) -> str:
        if self.allowance is not None:
            return f"+{self.allowance} {self.measured.unit} ({self.excess:+.2f})"
        return "-" if self.limit is None else f"{self.limit}"


Action = Callable[[], object]


def compare(
    name: str, against: str, reference: Action, measured: Action, *, limit: float | None, runs: int
) -> Comparison:
    """Both sides `runs` times, in turns that change their order, behind one run each that does not count.

    What takes so long that it would never end is run less often.
    """
    result = Comparison(name, against, limit)
    sides = [(reference, result.reference), (measured, result.measured)]
    for action, _ in sides:
        action()
    began = time.monotonic()
    for run in range(runs):
        if run >= FEWEST and time.monotonic() - began > PATIENCE:
            break
        for action, samples in sides if run % 2 else reversed(sides):
            with samples.timed():
                action()
    return result


def table(comparisons: list[Comparison]) -> str:
    rows = [("what", "against", "reference", "measured", "ratio", "cpu", "limit", "")]
    for each in comparisons:
        cpu = "" if each.cpu_ratio is None else f"{each.cpu_ratio:.2f}"
        verdict = "ok" if each.is_kept else "EXCEEDED"
        medians = str(each.reference), str(each.measured), f"{each.ratio:.2f}"
        rows.append((each.name, each.against, *medians, cpu, each.bound, verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in (0, 1, 6, 7) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
