"""What the state of three servers means. Pure; `test_failures` asks real ones."""

from fastzero_core.ha.cluster import NO_ANSWER, PRIMARY, STANDBY, Node, State

LEADS = Node("database-1", PRIMARY, "running", timeline=3)
FOLLOWS = Node("database-2", STANDBY, "streaming", timeline=3, lag=0, is_synchronous=True)
ALSO = Node("database-3", STANDBY, "streaming", timeline=3, lag=512, is_synchronous=True)
ABSENT = Node("database-3", STANDBY, NO_ANSWER)
STARTING = Node("database-3", STANDBY, "starting")


def test_three_servers_that_follow_each_other_are_whole() -> None:
    state = State((LEADS, FOLLOWS, ALSO))

    assert (state.is_writable, state.is_whole, state.problem) == (True, True, "")
    assert state.primary == LEADS


def test_one_standby_is_enough_for_writes_and_the_other_is_named() -> None:
    for third in (ABSENT, STARTING):
        state = State((LEADS, FOLLOWS, third))
        assert (state.is_writable, state.is_whole) == (True, False)
        assert state.problem == "database-3 does not run"


def test_a_standby_that_does_not_receive_confirms_nothing() -> None:
    behind = Node("database-2", STANDBY, "in archive recovery", is_synchronous=True)

    assert State((LEADS, behind, ABSENT)).problem == "commits wait for a standby: database-3 does not run"


def test_without_a_primary_no_write_is_acknowledged() -> None:
    state = State((FOLLOWS, Node("database-1", STANDBY, NO_ANSWER), ABSENT))

    assert (state.is_writable, state.primary) == (False, None)
    assert state.problem == "no server accepts writes: database-1, database-3 do not run"


def test_a_primary_that_is_being_stopped_is_none() -> None:
    assert State((Node("database-1", PRIMARY, "stopping"), FOLLOWS, ALSO)).primary is None
