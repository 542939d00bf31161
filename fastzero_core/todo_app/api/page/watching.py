"""Tell the open windows that todos or roles have changed: server-sent events from LISTEN and NOTIFY.

A window shows the todos of one owner, or of one list, and is told of those alone: the database names both. One
connection per process listens, while a window is open. Only changes of owners who are watched are announced, as the
table `todo_watchers` says, whose rows a process renews: PostgreSQL commits announcing transactions one after the other.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import BigInteger, DateTime, Text, any_, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ....errors import BusyError, FastZeroError
from ....postgres import database
from ....postgres.driver_errors import translate
from ...tables import CHANNEL, SEPARATOR, todo_watchers, users
from ...todos import Todos

CHANGED = b"event: changed\ndata:\n\n"
ALIVE = b":\n\n"  # keeps proxies from closing an idle connection
PAUSE = 0.05  # seconds in which changes are told together
HEARTBEAT = 15  # seconds
LIFETIME = 300  # seconds, then the browser connects again, and its session is checked
RENEW = 20  # seconds
VALID = 60  # seconds that a process may not renew what it watches
RETRY = 1  # seconds
WINDOWS_MAX = 500  # of a process
WINDOWS_OF_USER_MAX = 20

_log = logging.getLogger("fastzero.server")


class Window:
    """A window that a user has open. `end` ends its stream."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.is_registered = False  # changes before are not announced
        self._woken = asyncio.Event()
        self._ended = False

    def wake(self) -> None:
        self._woken.set()

    def end(self) -> None:
        self._ended = True
        self._woken.set()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield an event at the beginning and after changes."""
        until = asyncio.get_running_loop().time() + LIFETIME
        yield b"retry: 1000\n\n"
        while asyncio.get_running_loop().time() < until:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await self._woken.wait()
            except TimeoutError:
                yield ALIVE
                continue
            if self._ended:
                return
            await asyncio.sleep(PAUSE)
            self._woken.clear()
            yield CHANGED


class Watching:
    """The open windows of a process, by what they show. `engine` is for the connection that listens."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._windows: dict[str, set[Window]] = {}
        self._name = secrets.token_hex(8)
        self._listening: asyncio.Task[None] | None = None
        self._renew = asyncio.Event()

    def require_room(self, user_id: int) -> None:
        """Raise BusyError if too many windows are open."""
        users = [window.user_id for window in itertools.chain(*self._windows.values())]
        if len(users) >= WINDOWS_MAX or users.count(user_id) >= WINDOWS_OF_USER_MAX:
            raise BusyError("too many windows are open")

    @contextmanager
    def window(self, user_id: int, channel: str) -> Iterator[Window]:
        """Open a window of a user, until the end of the block. Raises BusyError if too many are open."""
        self.require_room(user_id)
        windows, window = self._windows.setdefault(channel, set()), Window(user_id)
        windows.add(window)
        self._renew.set()
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())
        try:
            yield window
        finally:
            windows.discard(window)
            if not windows:
                self._windows.pop(channel, None)

    async def close(self) -> None:
        """Stop listening, and close the connection."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
        await self._engine.dispose()

    async def _listen(self) -> None:
        while self._windows:
            try:
                async with database.connect_async(self._engine) as connection:
                    await self._serve(connection)
            except (FastZeroError, psycopg.Error) as error:
                known = error if isinstance(error, FastZeroError) else translate(error)
                _log.warning("open windows are not told of changes: %s", known.message)
                for window in itertools.chain(*self._windows.values()):
                    window.is_registered = False  # what changes now is not announced
                await asyncio.sleep(RETRY)

    async def _serve(self, connection: AsyncConnection) -> None:
        driver = await database.driver_connection(connection)
        await driver.execute(f"LISTEN {CHANNEL}".encode())
        while self._windows:
            self._renew.clear()
            await self._register(connection)
            renewed = asyncio.get_running_loop().time() + RENEW
            while asyncio.get_running_loop().time() < renewed and not self._renew.is_set():
                async for notification in driver.notifies(timeout=0.5, stop_after=1):
                    self._wake(notification.payload)

    async def _register(self, connection: AsyncConnection) -> None:
        """Write whose todos are watched."""
        new = [window for windows in self._windows.values() for window in windows if not window.is_registered]
        until = datetime.now(UTC) + timedelta(seconds=VALID)
        owners = sorted({int(channel.partition(SEPARATOR)[0]) for channel in self._windows})
        await connection.execute(_registration(), {"users": owners, "watcher": self._name, "until": until})
        await connection.execute(delete(todo_watchers).where(todo_watchers.c.until < func.now()))
        for window in new:
            window.is_registered = True
            window.wake()

    def _wake(self, channel: str) -> None:
        for window in self._windows.get(channel, ()):
            window.wake()


def channel_of(todos: Todos) -> str:
    """Return what the database calls the todos of an owner, or of a list, where it announces changes."""
    return f"{todos.owner_id}{SEPARATOR}{todos.list_id}" if todos.list_id else str(todos.owner_id)


def _registration() -> Any:
    values = (bindparam("watcher", type_=Text), bindparam("until", type_=DateTime(timezone=True)))
    there = users.c.id == any_(bindparam("users", type_=ARRAY(BigInteger)))
    rows = insert(todo_watchers).from_select(["user_id", "watcher", "until"], select(users.c.id, *values).where(there))
    return rows.on_conflict_do_update(constraint=todo_watchers.primary_key, set_={"until": rows.excluded.until})
