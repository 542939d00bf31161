"""The fault suite: `poe faults`. What an app or the library acknowledged must survive every fault, once.

Both runtimes are under load at the same time, each on projects of its own. A fault is inflicted, `fastzero up` is run,
and the ledger of acknowledged writes is compared with the database. The exit code is 1 if anything was lost, doubled,
answered with what is no "try again", left over, or not brought back by that `up`.
"""

import argparse
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.conftest import FOREIGN

from . import report
from .rounds import LoadedWorld, Outcome
from .scenarios import RUNTIMES, SCENARIOS, Scenario
from .schedule import Round, schedule

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
Pair = tuple[str, str]  # a runtime and a fault
_printing = threading.Lock()


class Run:
    """The rounds of one runtime, one after another, until its time is over."""

    def __init__(self, runtime: str, seed: int, scenarios: Sequence[Scenario], deadline: float) -> None:
        self.outcomes: list[Outcome] = []
        self.runtime = runtime
        self._scenarios = scenarios
        self._rounds = schedule(seed, runtime, [scenario.name for scenario in scenarios])
        self._deadline = deadline
        self._worlds: dict[str, LoadedWorld] = {}

    def __call__(self) -> list[Outcome]:
        try:
            for planned in itertools.takewhile(lambda _: time.monotonic() < self._deadline, self._rounds):
                self._run(planned)
        finally:
            for world in list(self._worlds):
                self._close(world)
        return self.outcomes

    @property
    def not_reached(self) -> list[Pair]:
        """The faults whose turn did not come."""
        reached = {outcome.round.scenario for outcome in self.outcomes}
        return [(self.runtime, each.name) for each in self._scenarios if each.name not in reached]

    def end_soon(self) -> None:
        """Begin no other round."""
        self._deadline = 0.0

    def _run(self, planned: Round) -> None:
        scenario = BY_NAME[planned.scenario]
        began = time.monotonic()
        try:
            outcome = self._world(scenario.world).run(scenario, planned)
        except Exception as error:  # no project could be made; another round may have more luck
            outcome = Outcome(planned, failure=f"{type(error).__name__}: {error}")
        self._keep(outcome, time.monotonic() - began)
        if outcome.problems:  # the next round gets a project that nothing is wrong with
            self._close(scenario.world)

    def _world(self, world: str) -> LoadedWorld:
        if world not in self._worlds:
            self._worlds[world] = LoadedWorld(self.runtime, world)
        return self._worlds[world]

    def _close(self, world: str) -> None:
        loaded = self._worlds.pop(world, None)
        if loaded is None:
            return
        if left := loaded.close():
            self._keep(Outcome(Round(self.runtime, f"down --volumes ({world})", 1, ""), leftovers=left), 0)

    def _keep(self, outcome: Outcome, seconds: float) -> None:
        self.outcomes.append(outcome)
        planned = outcome.round
        with _printing:
            head = f"{planned.runtime:9} {planned.scenario:22} #{planned.turn:<3} {seconds:5.0f} s"
            print(f"{head}  {outcome.acknowledged:6,} acknowledged, {len(outcome.verdict.lost)} lost", flush=True)
            for problem in outcome.problems:
                print(f"  {problem}", flush=True)


def main() -> int:
    options = _options()
    if options.list:
        return _list()
    for name in [name for name in os.environ if name.startswith("FASTZERO_") or name in FOREIGN]:
        del os.environ[name]  # the projects of this suite are nobody else's
    minutes = options.hours * 60 if options.hours else options.minutes
    title = f"Seed {options.seed}, {minutes:g} minutes."
    print(title, flush=True)
    wanted = [BY_NAME[name] for name in options.only or BY_NAME]
    runtimes = options.runtime or RUNTIMES
    not_run = _skipped(runtimes, wanted)
    runs = _runs(runtimes, options.seed, wanted, not_run, time.monotonic() + minutes * 60)
    outcomes = _all(runs)
    not_run |= {pair: "the time was over" for run in runs for pair in run.not_reached}
    text = report.page(title, outcomes, not_run)
    print(text)
    if options.write:
        report.write(text)
    return 1 if not outcomes or any(outcome.problems for outcome in outcomes) else 0


def _list() -> int:
    for name, scenario in BY_NAME.items():
        print(f"{name:22} {', '.join(scenario.runtimes):17} {scenario.what}")
    return 0


def _skipped(runtimes: Sequence[str], wanted: Sequence[Scenario]) -> dict[Pair, str]:
    """Why which fault cannot be run here in which runtime."""
    pairs = itertools.product(runtimes, wanted)
    reasons = {(runtime, scenario.name): scenario.reason_to_skip(runtime) for runtime, scenario in pairs}
    return {pair: reason for pair, reason in reasons.items() if reason}


def _runs(
    runtimes: Sequence[str], seed: int, wanted: Sequence[Scenario], skipped: Container[Pair], deadline: float
) -> list[Run]:
    here = {runtime: [each for each in wanted if (runtime, each.name) not in skipped] for runtime in runtimes}
    return [Run(runtime, seed, scenarios, deadline) for runtime, scenarios in here.items() if scenarios]


def _all(runs: Sequence[Run]) -> list[Outcome]:
    """Every outcome of the runs, side by side. SIGTERM and Ctrl-C end them after the round that is under way."""

    def end_soon(*_: object) -> None:
        print("ending after the rounds that are under way", flush=True)
        for run in runs:
            run.end_soon()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_soon)
    with ThreadPoolExecutor(max(len(runs), 1)) as pool:
        return [outcome for done in pool.map(lambda run: run(), runs) for outcome in done]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="poe faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="decides which fault comes when, and how it is")
    parser.add_argument("--minutes", type=float, default=15, help="begin no round after so long")
    parser.add_argument("--hours", type=float, help="the same in hours")
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="one runtime")
    parser.add_argument("--only", action="append", choices=list(BY_NAME), metavar="FAULT", help="one kind of fault")
    parser.add_argument("--list", action="store_true", help="list the kinds of faults, and run nothing")
    parser.add_argument("--write", action="store_true", help="write the results into docs/faults.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
