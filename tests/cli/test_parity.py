"""What the library can do, the command line can do."""

import inspect
from types import ModuleType

import pytest

from fastzero_core import Stack
from fastzero_core.backup import dump, psql, rehearsal, restore, shelf, stats
from fastzero_core.schema import migrate
from fastzero_core.stack import doctor
from fastzero_core.stack import stack as stack_module
from fastzero_core.todo_app.todos import Todos
from fastzero_core.todo_app.users import Users

from .tree import COMMANDS

# An operation → the command that offers it. A value that is no command is the reason why there is none.
OFFERED: dict[str, str] = {
    "Users.add": "user add",
    "Users.get": "user show",
    "Users.only": "reason: whom todo commands are about where nobody was named",
    "Users.list": "user list",
    "Users.stream": "user list",
    "Users.with_password_hash": "reason: what the HTTP API compares a new password with",
    "Users.edit": "user edit",
    "Users.set_password": "user passwd",
    "Users.void_tokens": "reason: logging out, which only those do who have a token",
    "Users.remove": "user rm",
    "Users.confirm": "reason: whether a token holds; the shell has none",
    "Todos.add": "todo add",
    "Todos.add_many": "todo add",
    "Todos.get": "todo show",
    "Todos.get_many": "todo show",
    "Todos.list": "todo list",
    "Todos.stream": "todo list",
    "Todos.edit": "todo edit",
    "Todos.move": "todo move",
    "Todos.trash": "todo trash",
    "Todos.restore": "todo restore",
    "Todos.remove": "reason: what the HTTP API calls deleting; the shell goes by the trash, and purges",
    "Todos.purge": "todo purge",
    "Todos.count": "reason: what `user rm` and `todo purge` say before they ask, and the board's headings",
    "migrate.up": "migrate up",
    "migrate.down": "migrate down",
    "migrate.status": "migrate status",
    "migrate.history": "migrate history",
    "migrate.check": "migrate check",
    "migrate.stamp": "migrate stamp",
    "migrate.sql": "migrate sql",
    "migrate.new": "migrate new",
    "migrate.lint": "migrate check",
    "migrate.pending": "reason: what a backup's revision is held against",
    "dump.backup": "db backup take",
    "dump.write_backup": "db backup take",
    "restore.verify": "db verify",
    "restore.restore": "db restore",
    "restore.restore_into_empty": "db restore",
    "restore.undo": "db restore",
    "restore.reset": "db reset",
    "restore.check": "reason: what `db restore` asks before it backs up",
    "restore.refuse_unless_able": "reason: what `db reset` asks before it backs up",
    "restore.needs_upgrade": "reason: what `db restore` asks about",
    "restore.last_kept": "reason: what `db restore --undo` says before it asks",
    "restore.kept_databases": "db stats",
    "restore.drop_kept": "db backup prune",
    "restore.fill": "reason: a step of verify, restore and rehearse",
    "rehearsal.rehearse": "migrate up",
    "shelf.new_path": "db backup take",
    "shelf.find": "db restore",
    "shelf.backups": "db backup list",
    "shelf.surplus": "reason: what `db backup prune` says before it asks",
    "shelf.prune": "db backup prune",
    "shelf.described": "db backup list",
    "psql.shell": "db shell",
    "stats.stats": "db stats",
    "migrate.engine_from_settings": "reason: the door for plain `alembic`",
    "Stack.up": "up",
    "Stack.plan": "up",
    "Stack.down": "down",
    "Stack.restart": "restart",
    "Stack.status": "status",
    "Stack.logs": "logs",
    "Stack.backup": "db backup take",
    "Stack.verify": "db verify",
    "Stack.restore": "db restore",
    "Stack.upgrade": "db upgrade",
    "Stack.move": "db move",
    "Stack.roll_back_upgrade": "db upgrade",
    "Stack.kept_before_upgrade": "reason: what `db upgrade --rollback` asks before it asks the person",
    "Stack.kept": "reason: what `db backup prune` names before it asks the person",
    "Stack.discard_kept": "db backup prune",
    "Stack.has_data": "reason: what `down --volumes` asks before it backs up",
    "Stack.exists": "reason: what `down --volumes` asks itself before it asks the person",
    "Stack.database_url": "env",
    "Stack.environment": "env",
    "Stack.running": "reason: what `doctor` asks before it blames a port on somebody else",
    "Stack.execute": "exec",
    "Stack.compose": "export compose",
    "Stack.repair_password": "doctor",
    "Stack.examine": "doctor",
    "stack.list_projects": "ls",
    "stack.every_stack": "down",
    "doctor.examine": "doctor",
}


def _methods(owner: type) -> list[str]:
    public = {name: member for name, member in vars(owner).items() if not name.startswith("_")}
    operations = [name for name, member in public.items() if inspect.isfunction(member) or isinstance(member, property)]
    return [f"{owner.__name__}.{name}" for name in operations]


def _functions(module: ModuleType) -> list[str]:
    own = [function for _, function in inspect.getmembers(module, inspect.isfunction)]
    public = [each for each in own if each.__module__ == module.__name__ and not each.__name__.startswith("_")]
    return [f"{module.__name__.rpartition('.')[2]}.{each.__name__}" for each in public]


OPERATIONS = [
    *_methods(Users),
    *_methods(Todos),
    *_methods(Stack),
    *_functions(migrate),
    *_functions(stack_module),
    *_functions(doctor),
    *(name for module in (dump, restore, rehearsal, shelf, psql, stats) for name in _functions(module)),
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_public_operation_has_its_command_or_a_reason(operation: str) -> None:
    offered = OFFERED[operation]
    assert offered in COMMANDS or offered.startswith("reason: ")


def test_the_list_names_nothing_that_is_gone() -> None:
    assert set(OFFERED) == set(OPERATIONS)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("", "up down status logs exec restart ls env doctor config serve export version migrate db user todo"),
        ("migrate", "up down status history new check sql stamp"),
        ("db", "backup verify restore reset upgrade move shell url stats"),
        ("db backup", "take list prune"),
        ("user", "add list show edit passwd use rm"),
        ("todo", "add list show edit start done reopen trash restore move purge"),
    ],
)
def test_the_tree_has_the_designed_commands(group: str, names: str) -> None:
    assert set(COMMANDS[group].commands) == set(names.split())
