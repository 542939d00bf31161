"""A database moves from one server to three in a swarm of three nodes, and back, with all that it has."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import NODES, Deployed, deployed
from .faults import World, load_on

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ONE, THREE = "--no-ha", "--ha"
AS_PLANNED = """
import json, sys
from fastzero_core import Stack
from fastzero_core.events import ActionStarted
done = []
stack = Stack(on_event=lambda event: done.append(str(event.action)) if isinstance(event, ActionStarted) else None)
ha = sys.argv[1] == "--ha"
planned = [str(action) for action in stack.plan_move(ha=ha)]
stack.move(ha=ha)
json.dump([planned, done, [str(action) for action in stack.plan()]], sys.stdout)
"""
SQL = """
import json, sys
import psycopg
from fastzero_core import Stack
with psycopg.connect(getattr(Stack(), sys.argv[1]), autocommit=True) as connection:
    cursor = [connection.execute(statement) for statement in sys.argv[2:]][-1]
    json.dump([list(row) for row in cursor] if cursor.description else [], sys.stdout)
"""
OF_SERVER = (
    "CREATE ROLE reader LOGIN PASSWORD 'secret of the reader' CONNECTION LIMIT 3",
    "CREATE ROLE readers",
    "GRANT readers TO reader",
    "ALTER ROLE reader SET work_mem = '12MB'",
    "ALTER DATABASE fastzero SET statement_timeout = '55s'",
)
OF_OWNER = (
    "CREATE EXTENSION citext",
    "CREATE SCHEMA shop",
    "CREATE TYPE shop.state AS ENUM ('open', 'paid')",
    "CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY, name citext UNIQUE, state shop.state, file oid)",
    "INSERT INTO shop.orders (name, state, file) VALUES ('Ana', 'paid', lo_from_bytea(0, 'the file'))",
    "GRANT USAGE ON SCHEMA shop TO readers",
    "GRANT SELECT ON shop.orders TO readers",
)
SEEN = (
    "SELECT (SELECT string_agg(name || ' ' || state || ' ' || convert_from(lo_get(file), 'UTF8'), ', ')"
    " FROM shop.orders WHERE name = 'ANA'), (SELECT rolpassword FROM pg_authid WHERE rolname = 'reader'),"
    " (SELECT rolconnlimit FROM pg_roles WHERE rolname = 'reader'), pg_has_role('reader', 'readers', 'MEMBER'),"
    " has_table_privilege('reader', 'shop.orders', 'SELECT'), (SELECT string_agg(setconfig::text, ' ' ORDER BY setrole)"
    " FROM pg_db_role_setting), (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'shop.orders'::regclass)"
)


@pytest.fixture(scope="module")
def project(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("moves")
    for made in deployed("moves", folder / "home", folder):
        made.up()
        World(made).add_user()
        sql(made, *OF_SERVER)
        sql(made, *OF_OWNER, url="database_url")
        yield made


def sql(project: Deployed, *statements: str, url: str = "superuser_url") -> Any:
    """Run statements, and return the rows of the last one."""
    return project.python(SQL, url, *statements)


def have(project: Deployed, servers: str) -> None:
    """Let the database have one server or three, whatever the test before left."""
    project.fastzero("db", "move", servers)


def services(project: Deployed) -> set[str]:
    ours = ("--filter", f"label=fastzero.project={project.name}", "--format", "{{.Name}}")
    return {name.removeprefix(f"fastzero-{project.name}-") for name in project.docker("service", "ls", *ours)}


def servers_of(project: Deployed) -> set[str]:
    return {name for name in services(project) if name.startswith(("database", "etcd"))}


ALONE = {"database"}
WITH_STANDBYS = {f"{name}-{number}" for name in ("database", "etcd") for number in (1, 2, 3)}


def without_hashes(actions: list[str]) -> list[str]:
    """The actions without what is chosen at random, or made from a secret that did not exist yet."""
    return [re.sub(r"(-database)-[0-9a-f]{8}\b|\.[0-9a-f]{12}\b", r"\1", each) for each in actions]


@pytest.mark.parametrize(("first", "then", "after"), [(ONE, THREE, WITH_STANDBYS), (THREE, ONE, ALONE)])
def test_it_moves_with_all_that_it_has_and_loses_no_acknowledged_write(
    project: Deployed, first: str, then: str, after: set[str]
) -> None:
    have(project, first)
    sql(project, "DELETE FROM todos")  # the clients do not know other rows
    seen, left = sql(project, SEEN), next(each for each in project.places() if each["current"])

    with load_on(World(project)) as load:
        planned, done, rest = project.python(AS_PLANNED, then)
        assert load.wait_for_writes(20)
        told = load.ask("report")
        verdict = load.compare(lambda: project.titles())

    assert not any(verdict.values()), (verdict, told)
    assert without_hashes(done) == without_hashes(planned)
    assert rest == []
    assert sql(project, SEEN) == seen
    assert servers_of(project) == after
    assert left["name"] in [each["name"] for each in project.places() if not each["current"]]
    assert project.get("/readyz")
    assert "Nothing to do" in project.fastzero("db", "move", then)


@pytest.mark.parametrize(
    ("first", "then", "at"),
    [
        (ONE, THREE, "wait for service database-1"),
        (ONE, THREE, "copy database"),
        (ONE, THREE, "stop container"),
        (THREE, ONE, "copy database"),
        (THREE, ONE, "stop service fastzero"),
    ],
)
def test_the_next_command_settles_a_move_that_was_killed(project: Deployed, first: str, then: str, at: str) -> None:
    have(project, first)
    project.fastzero("todo", "add", f"before {at}", "-u", "ana")
    before, seen = project.places(), sql(project, SEEN)

    project.kill_move(at, ha=then == THREE)
    project.fastzero("up")

    assert project.places() == before
    assert servers_of(project) == (ALONE if first == ONE else WITH_STANDBYS)
    assert sql(project, SEEN) == seen
    project.fastzero("todo", "add", f"after {at}", "-u", "ana")
    assert {f"before {at}", f"after {at}"} <= set(project.titles())
    assert "nothing to do" in project.up()


def test_a_move_that_is_killed_after_the_decision_is_completed(project: Deployed) -> None:
    have(project, ONE)
    project.fastzero("todo", "add", "before", "-u", "ana")

    project.kill_move("remove service fastzero", ha=True)
    project.fastzero("up")

    assert servers_of(project) == WITH_STANDBYS
    assert "before" in project.titles()


def test_a_kept_place_is_used_again_and_removed_on_all_nodes(project: Deployed) -> None:
    have(project, THREE)
    place = next(each for each in project.places() if each["current"])
    project.fastzero("todo", "add", "with three", "-u", "ana")
    have(project, ONE)
    project.fastzero("todo", "add", "with one", "-u", "ana")
    one = next(each for each in project.places() if each["current"])

    project.fastzero("db", "place", "use", place["name"], "--yes")
    assert place["servers"] == 3
    assert servers_of(project) == WITH_STANDBYS
    assert "with three" in project.titles()
    assert "with one" not in project.titles()

    project.fastzero("db", "place", "use", one["name"], "--yes")
    assert "with one" in project.titles()
    told = project.fastzero("db", "place", "rm", place["name"], "--yes")
    volumes = {f"{place['name']}-{number}" for number in (1, 2, 3)}
    for number in range(2, len(NODES) + 1):
        assert f"{place['name']}-{number} on node{number} stays without its data" in told
    assert not volumes & set(project.docker("volume", "ls", "--format", "{{.Name}}"))
    assert place["name"] not in [each["name"] for each in project.places()]


def test_passwords_from_before_a_rotation_are_mended_with_standbys_too(project: Deployed) -> None:
    have(project, THREE)
    roles = [name for (name,) in sql(project, "SELECT rolname FROM pg_roles WHERE rolname IN ('postgres', 'fastzero')")]
    sql(project, *(f"ALTER ROLE {name} PASSWORD 'of before'" for name in sorted(roles)))

    assert project.python("from fastzero_core import Stack; print(str(Stack().repair_password()).lower())") is True

    assert sql(project, "SELECT 1") == sql(project, "SELECT 1", url="database_url") == [[1]]


def test_up_names_the_command_that_moves_it(project: Deployed) -> None:
    have(project, ONE)

    assert "fastzero db move --ha" in project.fastzero("up", "--ha", code=4)
    assert "fastzero db move --ha" in project.fastzero("db", "status", code=2)
