"""Every fault of a database with standbys, in random order and again: `poe faults-ha`.

The exit code is 1 if an acknowledged write is lost, or if writes stop for longer than promised.
"""

import argparse
import sys
import time
from random import Random

import docker

from .faults import FAULTS, Fault, run
from .world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.ha", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--fault", action="append", choices=[each.name for each in FAULTS], help="only this one")
    chosen = parser.parse_args()
    faults = [each for each in FAULTS if not chosen.fault or each.name in chosen.fault]
    print(f"seed {chosen.seed}", flush=True)
    engine = docker.from_env()
    world = World(engine)
    try:
        world.start()
        return _rounds(world, faults, Random(chosen.seed), time.monotonic() + 60 * chosen.minutes)
    except BaseException:
        print(world.logs(), file=sys.stderr)
        raise
    finally:
        world.close()
        engine.close()


def _rounds(world: World, faults: list[Fault], order: Random, deadline: float) -> int:
    """Inflict each fault at least once. Returns the exit code."""
    worst = 0
    print(f"{'fault':38}{'acknowledged':>14}{'lost':>6}{'longest outage':>16}{'promised':>10}", flush=True)
    while True:
        for fault in order.sample(faults, len(faults)):
            outcome = run(world, fault)
            print(
                f"{fault.name:38}{outcome.acknowledged:14,}{len(outcome.verdict.lost):6}"
                f"{outcome.longest_outage:14.1f} s{f'{fault.limit:g} s' if fault.limit else '–':>10}",
                flush=True,
            )
            if not (outcome.is_sound and outcome.is_in_time):
                print(f"  {outcome}", flush=True)
                worst = 1
        if time.monotonic() > deadline:
            return worst


if __name__ == "__main__":
    sys.exit(main())
