"""Which fault comes when follows from the seed alone."""

import itertools

from tests.faults.scenarios import RUNTIMES, SCENARIOS
from tests.faults.schedule import Round, schedule

NAMES = [scenario.name for scenario in SCENARIOS]


def first(number: int, seed: int, runtime: str = "embedded", names: list[str] = NAMES) -> list[Round]:
    return list(itertools.islice(schedule(seed, runtime, names), number))


def test_the_same_seed_gives_the_same_rounds_and_the_same_chances() -> None:
    one, two = first(100, seed=7), first(100, seed=7)
    assert one == two
    assert [each.chance.random() for each in one] == [each.chance.random() for each in two]


def test_another_seed_or_runtime_gives_another_order() -> None:
    orders = [[each.scenario for each in first(len(NAMES), seed, runtime)] for seed in (1, 2) for runtime in RUNTIMES]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_every_fault_comes_once_before_one_comes_again() -> None:
    rounds = first(3 * len(NAMES), seed=7)
    for turn in (1, 2, 3):
        assert sorted(each.scenario for each in rounds if each.turn == turn) == sorted(NAMES)
    assert [each.turn for each in rounds] == sorted(each.turn for each in rounds)


def test_a_fault_alone_has_the_chances_that_it_has_among_all() -> None:
    (among_all,) = [each for each in first(len(NAMES), seed=7) if each.scenario == "kill move"]
    (alone,) = first(1, seed=7, names=["kill move"])
    assert alone == among_all
