"""AsyncFastZero: the synchronous operations under asyncio, one run one transaction."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import psycopg
import pytest

from fastzero_core import AsyncFastZero, FastZero
from fastzero_core.errors import DatabaseLoginError, DatabaseUnreachableError, UnavailableError, UsernameTakenError
from fastzero_core.postgres import database
from fastzero_core.postgres.url import parse
from fastzero_core.todo_app.models import User

T = TypeVar("T")


def run(url: str, use: Callable[[AsyncFastZero], Coroutine[Any, Any, T]]) -> T:
    async def block() -> T:
        async with AsyncFastZero(url) as fz:
            return await use(fz)

    return asyncio.run(block())


def add(name: str) -> Callable[[FastZero], User]:
    return lambda fz: fz.users.add(name, email=f"{name}@example.com", password="correct horse")


def names(url: str) -> list[str]:
    with FastZero(url) as fz:
        return [user.username for user in fz.users.list()]


def test_a_run_is_committed(database_url: str) -> None:
    assert run(database_url, lambda fz: fz.run(add("ana"))).username == "ana"
    assert names(database_url) == ["ana"]


def test_a_run_that_fails_is_undone_as_a_whole(database_url: str) -> None:
    def twice(fz: FastZero) -> None:
        add("ana")(fz)
        add("ana")(fz)

    with pytest.raises(UsernameTakenError):
        run(database_url, lambda fz: fz.run(twice))
    assert names(database_url) == []


def test_runs_go_on_at_the_same_time(database_url: str) -> None:
    async def many(fz: AsyncFastZero) -> list[User]:
        return await asyncio.gather(*(fz.run(add(f"user{number}")) for number in range(12)))

    assert len(run(database_url, many)) == 12


def test_the_event_loop_goes_on_while_the_database_works(database_url: str, other: psycopg.Connection) -> None:
    async def ticks_while_waiting(fz: AsyncFastZero) -> int:
        ticks = 0
        waiting = asyncio.create_task(fz.run(lambda fz: fz.users.list()))
        while not waiting.done():
            await asyncio.sleep(0)
            ticks += 1
        return ticks

    assert run(database_url, ticks_while_waiting) > 1


def test_what_takes_too_long_is_cut_and_the_pool_goes_on(database_url: str) -> None:
    async def block() -> float:
        engine = database.create_async_engine(database_url, pool_size=1)
        fz = AsyncFastZero(engine, limit=0.5)
        with psycopg.connect(database_url) as lock:
            lock.execute("LOCK TABLE users")
            began = time.monotonic()
            with pytest.raises(UnavailableError):
                await fz.run(lambda fz: fz.users.list())
            took = time.monotonic() - began
        assert await fz.run(lambda fz: fz.users.list()) == []
        await engine.dispose()
        return took

    # The limit ends it, and not the five seconds after which the database itself gives up a lock.
    assert 0.4 < asyncio.run(block()) < 5


def test_waiting_for_a_connection_ends_as_well(database_url: str) -> None:
    async def block() -> None:
        engine = database.create_async_engine(database_url, pool_size=1)
        async with engine.connect():
            with pytest.raises(DatabaseUnreachableError, match=r"within 0\.5 seconds"):
                await AsyncFastZero(engine, limit=0.5).run(lambda fz: fz.users.list())
        assert await AsyncFastZero(engine).run(lambda fz: fz.users.list()) == []
        await engine.dispose()

    asyncio.run(block())


def test_a_task_that_is_cancelled_by_somebody_else_is_cancelled(database_url: str) -> None:
    async def cancelled(fz: AsyncFastZero) -> bool:
        with psycopg.connect(database_url) as lock:
            lock.execute("LOCK TABLE users")
            task = asyncio.create_task(fz.run(lambda fz: fz.users.list()))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        return task.cancelled()

    assert run(database_url, cancelled)


def test_a_statement_for_a_text_is_planned_each_time(database_url: str) -> None:
    async def prepared() -> list[str]:
        engine = database.create_async_engine(database_url, pool_size=1, autocommit=True)
        fz = AsyncFastZero(engine)
        user = await fz.run(add("ana"))
        for _ in range(6):  # psycopg prepares a statement the sixth time
            await fz.run(lambda fz: fz.todos(user).list(text="report"))
            await fz.run(lambda fz: fz.todos(user).list())
        async with engine.connect() as connection:
            found = await connection.exec_driver_sql("SELECT statement FROM pg_prepared_statements")
        await engine.dispose()
        return [text for text in found.scalars() if "FROM todos" in text]

    [statement] = asyncio.run(prepared())
    assert "ILIKE" not in statement


def test_autocommit_makes_every_statement_a_transaction(database_url: str) -> None:
    async def block() -> None:
        engine = database.create_async_engine(database_url, autocommit=True)
        fz = AsyncFastZero(engine)

        def one_and_again(fz: FastZero) -> None:
            add("ana")(fz)
            add("ana")(fz)

        with pytest.raises(UsernameTakenError):
            await fz.run(one_and_again)
        await engine.dispose()

    asyncio.run(block())
    assert names(database_url) == ["ana"]


def test_of_two_passwords_the_one_that_the_server_knows_is_used(database_url: str) -> None:
    valid = parse(database_url)["password"]

    async def users_with(passwords: list[str]) -> object:
        engine = database.create_async_engine(database_url, read_passwords=lambda: passwords)
        try:
            return await AsyncFastZero(engine).run(lambda fz: fz.users.list())
        finally:
            await engine.dispose()

    assert asyncio.run(users_with(["old", valid])) == []
    assert asyncio.run(users_with([valid, "next"])) == []
    with pytest.raises(DatabaseLoginError):
        asyncio.run(users_with(["old", "next"]))


def test_a_connection_that_is_still_busy_is_not_used_again(database_url: str) -> None:
    async def block() -> None:
        engine = database.create_async_engine(database_url, pool_size=1, autocommit=True)
        async with engine.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            raw.pgconn.send_query(b"SELECT pg_sleep(60)")
        assert await AsyncFastZero(engine).run(lambda fz: fz.users.list()) == []
        await engine.dispose()

    asyncio.run(block())
