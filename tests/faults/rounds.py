"""One round: a fault on a project that is being written to, the next `up`, and what is then there."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from fastzero_core.polling import wait_until

from . import clock, disk
from .ledger import Ledger, Row, Verdict
from .scenarios import Scenario
from .schedule import Round
from .world import PATIENCE, World
from .writers import ALWAYS_EXPECTED, HttpWriter, LibraryWriter, Load

CLIENTS = 3  # of the HTTP API; beside them writes one program by the library
ENOUGH = 20  # writes before the fault, and after it
STRAYS_END_WITHIN = 30  # seconds: what a killed command started ends a moment after it


@dataclass
class Outcome:
    """What a round found. `failure` is what kept it from its end."""

    round: Round
    acknowledged: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    refusals: Counter[str] = field(default_factory=Counter)
    unexpected: frozenset[str] = frozenset()
    longest_outage: float = 0.0
    not_converged: str = ""
    leftovers: list[str] = field(default_factory=list)
    failure: str = ""

    @property
    def problems(self) -> list[str]:
        """Everything that is not as it should be, one a line."""
        verdict = self.verdict
        named = {
            "lost": verdict.lost,
            "more than once": verdict.duplicated,
            "with other content": verdict.altered,
            "written by nobody": verdict.unknown,
            "answered": sorted(self.unexpected),
            "left over": self.leftovers,
            "not converged": [self.not_converged] if self.not_converged else [],
            "failed": [self.failure] if self.failure else [],
        }
        return [f"{what}: {', '.join(map(str, each))}" for what, each in named.items() if each]


class LoadedWorld:
    """A world and those who write to it."""

    def __init__(self, runtime: str, world: str) -> None:
        small_disk = world == "main" and not disk.missing()
        self.world = World(
            runtime,
            image=_image(world),
            workers=2 if world == "workers" else 1,
            on_small_disk=small_disk,
            is_archived=world == "archived",
        )
        self.ledger = Ledger()
        clients = [HttpWriter(lambda: self.world.app_port) for _ in range(CLIENTS)]
        self.load = Load(self.ledger, [*clients, LibraryWriter(lambda: self.world.database_url)])

    def close(self) -> list[str]:
        """Returns what `down --volumes` left."""
        self.load.stop()
        return self.world.remove()

    def run(self, scenario: Scenario, planned: Round) -> Outcome:
        """Run one round; whatever happens is in its outcome."""
        outcome = Outcome(planned)
        before = self.ledger.total
        self.load.begin_round()
        try:
            self._inflict_and_look(scenario, outcome)
        except Exception as error:  # the next rounds are to be run all the same
            outcome.failure = f"{type(error).__name__}: {error}"
        outcome.acknowledged = self.ledger.total - before
        outcome.refusals = Counter(self.load.refusals)
        outcome.unexpected = frozenset(outcome.refusals) - ALWAYS_EXPECTED - scenario.expected
        outcome.longest_outage = self.load.longest_outage
        return outcome

    def _inflict_and_look(self, scenario: Scenario, outcome: Outcome) -> None:
        self._await_writes("before the fault")
        scenario.inflict(self.world, self.load, outcome.round.chance)
        self.world.run("up")
        if scenario.replaces:
            outcome.verdict = self._get_back()
        self._await_writes("after `up`")
        with self.load.paused():
            if outcome.verdict.is_sound:
                outcome.verdict = self.ledger.check(self.world.rows())
            outcome.not_converged = self.world.not_converged()
            outcome.leftovers = _until_empty(self.world.leftovers)

    def _await_writes(self, when: str) -> None:
        if not self.load.wait_for_writes(ENOUGH, PATIENCE):
            raise TimeoutError(f"the app did not acknowledge {ENOUGH} writes {when} within {PATIENCE} s")

    def _get_back(self) -> Verdict:
        """Where rows were replaced, bring back the newest backup: together both must have everything."""
        with self.load.paused():
            rows = self.world.rows()
            if self.ledger.check(rows).is_sound:
                return Verdict()
            restored = self._rows_of_newest_backup()
            verdict = self.ledger.check(rows, restored)
            self.ledger.forget_all_but(restored)
        return verdict

    def _rows_of_newest_backup(self) -> list[Row]:
        newest = self.world.ask("db", "backup", "list")[-1]
        self.world.run("db", "restore", newest["name"], "--yes", "--no-backup")
        return self.world.rows()


def _image(world: str) -> str:
    if world == "stepped":
        return clock.image_with_clock()
    return "postgres:17" if world == "upgraded" else "postgres:18"


def _until_empty(find: Callable[[], list[str]]) -> list[str]:
    """What is still found after a while."""
    wait_until(lambda: not find(), STRAYS_END_WITHIN, every=1)
    return find()
