"""Show the steps of a command: live on a terminal while they run, and one line for each result everywhere."""

import shutil
import sys
import threading
import time
import unicodedata
from typing import Any

from fastzero_core.events import Progress, RevisionApplied

from . import messages, style
from .layout import for_terminal, size
from .steps import Step, phase_of, step_of
from .streams import write_to_person

EVERY = 0.1  # seconds between two frames
BAR = 20  # cells
TOLD_AFTER = 1.0  # seconds; a shorter phase of a copy does not get a line when it ends


class Live:
    """The last line of a terminal, which shows what is running. Shows nothing elsewhere."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._text, self._since = "", 0.0
        self._frame = 0
        self._thread: threading.Thread | None = None

    def show(self, text: str, since: float) -> None:
        """Show a line until it is cleared, with the seconds since `since`."""
        if not style.is_capable(sys.stderr):
            return
        with self._lock:
            self._text, self._since = text, since
            self._draw()
        if self._thread is None:
            self._thread = threading.Thread(target=self._turn, daemon=True)
            self._thread.start()

    def clear(self) -> None:
        """Remove the line, so that other text can be written."""
        with self._lock:
            if self._text:
                self._text = ""
                write_to_person("\r\x1b[K")

    def _turn(self) -> None:
        while True:
            time.sleep(EVERY)
            with self._lock:
                if self._text:
                    self._draw()

    def _draw(self) -> None:
        frames = style.spinner()
        self._frame += 1
        elapsed = time.monotonic() - self._since
        end = f" {style.symbols(style.DETAIL.strip())} {style.seconds(elapsed)}" if elapsed >= TOLD_AFTER else ""
        columns = shutil.get_terminal_size().columns
        text = _cut(style.symbols(for_terminal(self._text)), columns - len(end) - 3)
        frame = style.paint(frames[self._frame % len(frames)], "accent", sys.stderr)
        write_to_person(f"\r\x1b[K{frame} {text}{style.paint(end, 'dim', sys.stderr)}")


LIVE = Live()


class Steps:
    """Follow the events of a command and print its steps. With `quiet`, print nothing."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._began: dict[str, float] = {}
        self._phase: Step | None = None
        self._counted = ""
        self._drawn_at = 0.0
        self._revisions: list[str] = []

    def begin(self, action: Any) -> None:
        """Show that an action begins."""
        step = step_of(action)
        if step is None or self._quiet:
            return
        now = time.monotonic()
        since = self._began.setdefault(step.key, now) if step.done else now
        self._began[step.key] = since  # of a second try, its own
        if step.slow and not style.is_capable(sys.stderr):
            messages.say(f"{step.doing} …")
        LIVE.show(f"{step.doing} …", since)

    def end(self, action: Any) -> None:
        """Print the result of an action that succeeded."""
        self.end_phase()
        LIVE.clear()
        step = step_of(action)
        if step is None or self._quiet or not step.done:
            return
        seconds = time.monotonic() - self._began.pop(step.key, time.monotonic())
        if str(action.verb) == "migrate":
            self._migrated(seconds)
        else:
            messages.step(step.done, step.details, seconds)

    def progress(self, progress: Progress) -> None:
        """Show the progress of a phase of a copy. Ends the phase before it if this is another one."""
        if self._quiet:
            return
        step, now = phase_of(progress), time.monotonic()
        if self._phase is None or step.key != self._phase.key:
            self.end_phase()
            self._phase, self._began[step.key], self._counted = step, now, ""
        elif now - self._drawn_at < EVERY:
            return
        if progress.done:
            self._counted = _amount(progress)
        self._drawn_at = now
        LIVE.show(_shown(step, progress), self._began[step.key])

    def revision(self, applied: RevisionApplied) -> None:
        """Print a revision that was applied or reverted."""
        if not self._quiet:
            LIVE.clear()
            self._revisions.append(applied.revision)
            messages.revision(applied)

    def end_phase(self) -> None:
        """Print the result of the current phase, which succeeded: something else begins, or a result follows."""
        if self._phase is None:
            return
        step, self._phase = self._phase, None
        seconds = time.monotonic() - self._began.pop(step.key)
        if step.done and seconds >= TOLD_AFTER:
            LIVE.clear()
            messages.step(step.done, (self._counted,), seconds)

    def _migrated(self, seconds: float) -> None:
        if self._revisions:
            messages.step("Schema migrated", (f"now at {self._revisions[-1]}",), seconds)
            self._revisions.clear()
        else:
            messages.step("Schema is up to date", (), seconds)


def _shown(step: Step, progress: Progress) -> str:
    if not progress.total:
        return f"{step.doing} {_amount(progress) if progress.done else '…'}"
    share = min(1.0, progress.done / progress.total)
    filled = round(BAR * share)
    return f"{step.doing} {'━' * filled}{'─' * (BAR - filled)} {share:4.0%} {_amount(progress)}"


def _amount(progress: Progress) -> str:
    if progress.unit == "bytes":
        return size(progress.done)
    return f"{progress.done:,} {progress.unit}".strip()


def _cut(text: str, cells: int) -> str:
    """Return the text cut to a number of cells, since a line that wraps cannot be cleared."""
    taken = 0
    for index, character in enumerate(text):
        taken += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if taken > cells:
            return text[:index]
    return text
