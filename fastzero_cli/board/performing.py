"""Perform the operations of a board one after the other, without blocking its screen."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from textual.app import App
from textual.binding import Binding

from fastzero_core.errors import FastZeroError

from ..style import symbols
from .selection import Board
from .store import Operations, Store
from .widgets import told

T = TypeVar("T")


class Performing(App[None]):
    """An app with a board. `failure` is the bug or the interruption that ended it, if one did.

    A subclass shows `board`, what was said last, and what is wrong with the database, `_offline`.
    """

    # Before those of the parts: Ctrl+C ends the board also while the user types.
    BINDINGS = [Binding("ctrl+c", "interrupt", priority=True, show=False)]  # noqa: RUF012

    def __init__(self, store: Store) -> None:
        super().__init__(ansi_color=True)
        self.failure: BaseException | None = None
        self.board = Board()
        self._store = store
        self._search = ""
        self._turn = asyncio.Lock()  # one operation after the other, in the order of the keys
        self._is_leaving = False
        self._reads_next = False
        self._said, self._is_error, self._offline = "", False, ""

    async def on_unmount(self) -> None:
        await self._store.close()

    async def action_quit(self) -> None:
        """Leave when all changes are saved; if asked again, without waiting."""
        if self._is_leaving:
            self.exit()
        self._is_leaving = True
        if self._turn.locked():
            self._say(symbols("Saving …"))
        self.run_worker(self._leave())

    def action_interrupt(self) -> None:
        self.failure = KeyboardInterrupt()
        self.exit()

    def _redraw(self) -> None:
        raise NotImplementedError

    def _say(self, text: str, *, is_error: bool = False) -> None:
        self._said, self._is_error = text, is_error
        self._redraw()

    def _change(self, operation: Callable[[Operations], str]) -> None:
        """Run an operation after those that run, and show what it returns, or its error."""

        async def run() -> None:
            try:
                self._say(await self._perform(operation))
            except FastZeroError as error:
                self._is_leaving = False  # the user has to see it
                self._say(told(error), is_error=True)

        self.run_worker(run())

    async def _perform(self, operation: Callable[[Operations], T]) -> T:
        """Run an operation after those that run, and show the board after it. Raises FastZeroError."""
        async with self._turn:
            result = await self._guarded(lambda: self._store.change(operation))
            await self._show()
        return result

    def _look(self) -> None:
        """Read the board after the operations that run."""
        if not self._reads_next:
            self._reads_next = True
            self.run_worker(self._read())

    def _look_again(self) -> None:
        if not self._turn.locked():
            self._look()

    async def _read(self) -> None:
        async with self._turn:
            self._reads_next = False
            await self._show()

    async def _show(self) -> None:
        """Read the board and show it, or that this fails, until it succeeds again."""
        try:
            self.board.update(await self._guarded(lambda: self._store.read(self._search)))
            self._offline = ""
        except FastZeroError as error:
            self._offline = told(error)
        self._redraw()

    async def _guarded(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """End the board on a bug, so that the command reports it as such, and the worker if the board has ended."""
        try:
            return await call()
        except FastZeroError:
            raise
        except Exception as error:
            self.failure = error
            self.exit()
            raise asyncio.CancelledError from error
        finally:
            if not self.is_running:  # the parts of the screen are gone
                raise asyncio.CancelledError

    async def _leave(self) -> None:
        async with self._turn:
            if self._is_leaving:
                self.exit()
