"""The one loop that waits."""

from fastzero_core.polling import poll, wait_until


def test_the_first_true_answer_is_returned() -> None:
    answers = iter([[], [], ["here"], ["late"]])

    assert poll(lambda: next(answers), 10, every=0) == ["here"]


def test_the_last_answer_is_returned_when_time_is_over() -> None:
    assert poll(lambda: "", 0, every=0) == ""


def test_a_condition_is_asked_at_least_once() -> None:
    assert wait_until(lambda: True, -1)
    assert not wait_until(lambda: False, -1)
