"""Run a plan, or undo the part of it that was run. The executor decides nothing."""

import threading
import time
from collections.abc import Callable, Iterable
from importlib import import_module

from ..errors import FastZeroError
from ..events import ActionDone, ActionStarted, Listener, Notice
from .actions import MIGRATES, Action, Kind, Verb, inverse, is_decided

Perform = Callable[[Action], None]


def execute(plan: Iterable[Action], perform: Perform, on_event: Listener, *, keep: bool = False) -> list[Action]:
    """Run the actions in order. Returns them.

    If one fails, undo what was done, latest first, unless `keep` is set or only old containers remain to be removed.
    """
    actions = list(plan)
    if any(action.verb is Verb.MIGRATE for action in actions):
        # The import takes as long as the start of a server, so do both at the same time.
        threading.Thread(target=import_module, args=(MIGRATES,), daemon=True).start()
    begun: list[Action] = []
    try:
        for action in actions:
            begun.append(action)
            began = time.monotonic()
            on_event(ActionStarted(action))
            perform(action)
            on_event(ActionDone(action, time.monotonic() - began))
    except BaseException:
        if not keep and not is_decided(begun):
            undo(begun, perform, on_event)
        raise
    return actions


def undo(begun: Iterable[Action], perform: Perform, on_event: Listener) -> None:
    """Run the inverse of each action, latest first. If one fails, emit a notice and continue.

    In that case the record is not undone either: the next command needs it to find what is left.
    """
    undone: list[str] = []
    stays = False
    for action in reversed(list(begun)):
        opposite = inverse(action)
        if opposite is None or (stays and action.kind is Kind.RECORD):
            continue
        try:
            perform(opposite)
            undone.append(str(action))
        except FastZeroError as error:
            stays = True
            on_event(Notice(f"could not undo {action}: {error.message}"))
    if undone:
        on_event(Notice(f"undone: {', '.join(undone)}"))
