"""Which fault comes when: a pure function of the seed."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Round:
    """One fault to run. `turn` counts the rounds of the same scenario, from 1."""

    runtime: str
    scenario: str
    turn: int
    seed: str

    @property
    def chance(self) -> Random:
        """Decides everything random of this round, whatever ran before it."""
        return Random(self.seed)


def schedule(seed: int, runtime: str, scenarios: Sequence[str]) -> Iterator[Round]:
    """Endless rounds: every scenario once in random order, and again."""
    order = Random(f"{seed} {runtime}")
    for turn in itertools.count(1):
        for scenario in order.sample(scenarios, len(scenarios)):
            yield Round(runtime, scenario, turn, f"{seed} {runtime} {scenario} {turn}")
