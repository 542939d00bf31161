"""Runs the benchmarks and prints one table; the exit code is 1 if one exceeds its limit."""

import argparse
import signal
import sys

from .benchmarks import BENCHMARKS
from .ground import new_ground
from .measure import Comparison, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="fewer runs, a tenth of the todos: a first impression")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results: list[Comparison] = []
    with new_ground(many=100_000 if options.quick else 1_000_000) as ground:
        for name in options.only or BENCHMARKS:
            print(f"… {name}", file=sys.stderr, flush=True)
            for each in BENCHMARKS[name](ground, options.quick):
                results.append(each)
                print(f"  {each.ratio:.2f}  {each.name}", file=sys.stderr, flush=True)
    print(table(results))
    return 0 if all(each.is_kept for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
