"""Every fault of a database with standbys in a swarm of three nodes: `poe faults-swarm`.

It needs root, and FASTZERO_CLUSTER with the program that makes a cluster. The exit code is 1 if an acknowledged write
is lost, or if writes stop for longer than promised.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from .conftest import Deployed, cluster_program, is_up, make
from .faults import FAULTS, Fault, Load, World, load_on, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.swarm", description=__doc__.splitlines()[0])
    parser.add_argument("--fault", action="append", choices=[each.name for each in FAULTS], help="only this one")
    chosen = parser.parse_args()
    faults = [each for each in FAULTS if not chosen.fault or each.name in chosen.fault]
    was_up = is_up()
    make()
    with tempfile.TemporaryDirectory() as folder:
        project = Deployed(f"fz-faults-{uuid4().hex[:6]}", Path(folder, "home"), Path(folder))
        try:
            began = time.monotonic()
            project.up("--ha")
            print(f"ready after {time.monotonic() - began:.0f} s", flush=True)
            return _rounds(World(project), faults)
        finally:
            project.fastzero("down", "--volumes", "--yes", "--no-backup")
            if not was_up:
                cluster_program("down")


def _rounds(world: World, faults: list[Fault]) -> int:
    """Inflict each fault. Returns the exit code."""
    world.add_user()
    print(f"{'fault':38}{'acknowledged':>14}{'lost':>6}{'longest outage':>16}{'promised':>10}", flush=True)
    with load_on(world) as load:
        return max([_round(world, load, fault) for fault in faults], default=0)


def _round(world: World, load: Load, fault: Fault) -> int:
    outcome = run(world, load, fault)
    print(
        f"{fault.name:38}{outcome.acknowledged:14,}{len(outcome.verdict['lost']):6}"
        f"{outcome.longest_outage:14.1f} s{f'{fault.limit:g} s' if fault.limit else '–':>10}",
        outcome.refusals,
        flush=True,
    )
    if outcome.is_sound and outcome.is_in_time:
        return 0
    print(f"  {outcome}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
