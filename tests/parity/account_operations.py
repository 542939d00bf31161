"""The table, continued: users, lists and their members, calendars, and files with the ids of other programs."""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from io import BytesIO
from typing import Any

from fastzero_core import FastZero
from fastzero_core.todo_app.transfer import files

from .operations import PASSWORD, beyond
from .ways import Request, Step

NOT_IN_HTTP = None  # other users' accounts, passwords without the current one, lists by name
ACCOUNT = ("id", "username", "email")  # what HTTP tells of an account
SEEN = ("id", "username")  # and of other users
COUNTED = ("added", "changed", "unchanged", "invalid", "left_out")
NOTHING = ("",)  # HTTP answers with a sentence


def user(
    words: str,
    call: Callable[[FastZero], Any],
    request: Request | None = NOT_IN_HTTP,
    only: tuple[str, ...] = ACCOUNT,
    stdin: str = "",
) -> Step:
    return Step(call, shlex.split(f"user {words}"), request, stdin, only=only)


def of_list(
    words: str,
    call: Callable[[FastZero, str], Any],
    request: Request | None = NOT_IN_HTTP,
    by: str = "ana",
    only: tuple[str, ...] = (),
) -> Step:
    """An operation of a user on lists."""
    asked = request and replace(request, by=by)
    return Step(lambda fz: call(fz, by), [*shlex.split(f"list {words}"), "-u", by], asked, only=only)


def adds(name: str, by: str = "ana") -> Step:
    request = Request("POST", "/lists/", {"name": name})
    return of_list(f"add {shlex.quote(name)}", lambda fz, me: fz.lists(me).add(name), request, by)


def shows(id: int, by: str = "ana") -> Step:
    return of_list(f"show {id}", lambda fz, me: fz.lists(me).get(id), Request("GET", f"/lists/{id}"), by)


def renames(id: int, name: str, by: str = "ana") -> Step:
    request = Request("PATCH", f"/lists/{id}", {"name": name})
    return of_list(f"rename {id} {shlex.quote(name)}", lambda fz, me: fz.lists(me).rename(id, name), request, by)


def shares(id: int, other: str, role: str, by: str = "ana") -> Step:
    request = Request("PUT", f"/lists/{id}/members/{other}", {"role": role})
    words = f"share {id} {other} --role {role}"
    return of_list(words, lambda fz, me: fz.lists(me).share(id, other, role), request, by)


def unshares(id: int, other: str, by: str = "ana") -> Step:
    request = Request("DELETE", f"/lists/{id}/members/{other}")
    return of_list(f"unshare {id} {other}", lambda fz, me: fz.lists(me).unshare(id, other), request, by)


def members(id: int, by: str = "ana") -> Step:
    request = Request("GET", f"/lists/{id}/members")
    return of_list(f"members {id}", lambda fz, me: fz.lists(me).members(id), request, by)


def lists(by: str = "ana") -> Step:
    return of_list("list", lambda fz, me: fz.lists(me).list(), Request("GET", "/lists/"), by)


def deletes(id: int, by: str = "ana") -> Step:
    request = Request("DELETE", f"/lists/{id}")
    return of_list(f"rm {id} --yes", lambda fz, me: {"trashed": fz.lists(me).remove(id)}, request, by)


def adds_todo(title: str, list: int, by: str = "ana") -> Step:
    return Step(
        lambda fz: fz.todos(by, list=list, time_zone=UTC).add(title),
        ["todo", "add", title, "--list", str(list), "-u", by],
        Request("POST", "/todos/", {"title": title}, {"list": list}, by=by),
    )


def todos_of(list: int, by: str = "ana") -> Step:
    return Step(
        lambda fz: fz.todos(by, list=list, time_zone=UTC).list(),
        ["todo", "list", "--all", "--list", str(list), "-u", by],
        Request("GET", "/todos/", query={"list": list}, by=by),
    )


def calendar(words: str, call: Callable[[FastZero], Any], method: str, only: tuple[str, ...] = ()) -> Step:
    return Step(call, ["user", "calendar", words, "ana"], Request(method, "/calendar/"), only=only)


def imports(format: str, content: str) -> Step:
    return Step(
        lambda fz: fz.todos("ana", time_zone=UTC).import_each(files.read(BytesIO(content.encode()), format, UTC)),
        ["todo", "import", "-", "--format", format, "-u", "ana"],
        Request("POST", "/todos/import", content.encode(), {"format": format, "time_zone": "UTC"}),
        content,
        only=COUNTED,
    )


def exports(format: str) -> Step:
    def written(fz: FastZero) -> Any:
        text = "".join(fz.todos("ana", time_zone=UTC).export(format, tags=["home"]))
        return json.loads(text) if format in {"json", "taskwarrior"} else text

    return Step(
        written,
        ["todo", "export", "--all", "--format", format, "--tag", "home", "-u", "ana"],
        Request("GET", "/todos/export", query={"format": format, "tag": "home", "time_zone": "UTC"}),
    )


def signs_up(name: str, email: str) -> Step:
    return user(
        f"add {name} --email {email} --password-stdin",
        lambda fz: fz.users.add(name, email=email, password=PASSWORD),
        Request("POST", "/users/", {"username": name, "email": email, "password": PASSWORD}),
        stdin=f"{PASSWORD}\n",
    )


def changes_account(name: str, email: str) -> Step:
    return user(
        f"edit 1 --username {name} --email {email}",
        lambda fz: fz.users.edit(1, username=name, email=email),
        Request("PUT", "/users/1", {"username": name, "email": email, "password": PASSWORD}),
    )


def seen(id: int) -> Step:
    return user(f"show {id}", lambda fz: fz.users.get(id), Request("GET", f"/users/{id}"), SEEN)


def everybody(words: str = "", **page: int) -> Step:
    return user(f"list {words}", lambda fz: fz.users.list(**page), Request("GET", "/users/", query=page), SEEN)


KNOWN = '[{"title": "a", "external_id": "x-1", "tags": ["home"]}, {"title": "b", "external_id": "x-2"}]'
CHANGED = '[{"title": "A", "external_id": "x-1"}, {"title": "c"}, {"title": "b", "external_id": "x-2"}]'
REPEATED = '[{"title": "a", "external_id": "x"}, {"title": "b", "external_id": "x"}]'
FILES = {
    "csv": 'title;priority;tags;external_id\r\n"one; two";high;home;y-1\r\ntwo;;"home, shop";y-2\r\n',
    "ndjson": '{"title": "one", "external_id": "y-1", "tags": ["home"]}\n{"title": "two"}\n',
    "json": KNOWN,
    "todotxt": "(A) call +home due:2026-12-24 uuid:y-1\nx 2026-01-03 2026-01-02 paid @phone\n",
    "taskwarrior": '[{"description": "one", "status": "pending", "tags": ["home"], "entry": "20260102T030405Z", '
    '"uuid": "4b1a1e3e-93f5-4f4d-9c38-5f1f7f4f4b01", "annotations": [{"description": "more"}], '
    '"wait": "20270101T000000Z", "estimate": 2}]',
    "icalendar": "BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nUID:y-1\r\nSUMMARY:one\\, two\r\nCATEGORIES:home\r\n"
    "DUE;VALUE=DATE:20261224\r\nLOCATION:home\r\nBEGIN:VALARM\r\nTRIGGER:-PT5M\r\nEND:VALARM\r\nEND:VTODO\r\nEND:VCALENDAR\r\n",
}

CASES: dict[str, list[Step]] = {
    "users": [
        *map(seen, (1, 2, 999)),
        everybody(),
        everybody("--after 1", after=1),
        everybody("-n 1", limit=1),
        signs_up("carol", "carol@example.com"),
        signs_up("CAROL", "other@example.com"),
        signs_up("dave", "CAROL@example.com"),
        signs_up("4711", "number@example.com"),
        signs_up("dave", "no-address"),
        changes_account("anna", "anna@example.com"),
        beyond(changes_account("bob", "anna@example.com")),
        beyond(changes_account("anna", "bob@example.com")),
        user("show BOB", lambda fz: fz.users.get("BOB")),
        user("edit bob --username bert", lambda fz: fz.users.edit("bob", username="bert")),
        user("edit nobody --username x", lambda fz: fz.users.edit("nobody", username="x")),
        user("logout bert", lambda fz: fz.users.void_tokens("bert")),
        everybody(),
    ],
    "sessions end": [
        user("logout 1", lambda fz: fz.users.void_tokens(1), Request("POST", "/auth/logout"), NOTHING),
    ],
    "an account is deleted": [
        adds("Work"),
        shares(1, "bob", "editor"),
        lists("bob"),
        user("rm 1 --yes --no-backup", lambda fz: fz.users.remove(1), Request("DELETE", "/users/1"), NOTHING),
        lists("bob"),
    ],
    "lists": [
        lists(),
        *map(adds, ("Work", "home", "Größe 日本", "WORK", "inbox", "12", "", "a/b", " x", "x" * 101)),
        lists(),
        shows(1),
        of_list("show wOrK", lambda fz, me: fz.lists(me).get("wOrK")),
        of_list("show nothing", lambda fz, me: fz.lists(me).get("nothing")),
        renames(1, "Office"),
        renames(1, "OFFICE"),
        renames(1, "home"),
        renames(1, "inbox"),
        renames(999, "x"),
        adds_todo("In the list", 1),
        adds_todo("Nowhere", 999),
        todos_of(1),
        deletes(1),
        deletes(1),
        lists(),
    ],
    "members": [
        adds("Work"),
        shares(1, "bob", "viewer"),
        shares(1, "BOB", "owner"),
        shares(1, "nobody", "editor"),
        shares(1, "ana", "editor"),
        shares(1, "bob", "reader"),
        shares(999, "bob", "editor"),
        members(1),
        members(1, "bob"),
        members(999),
        lists("bob"),
        shows(1, "bob"),
        renames(1, "Office", "bob"),
        deletes(1, "bob"),
        unshares(1, "nobody"),
        unshares(1, "bob"),
        unshares(1, "bob"),
        members(1, "bob"),
        lists("bob"),
    ],
    "roles": [
        adds("Work"),
        adds_todo("By ana", 1),
        todos_of(1, "bob"),
        adds_todo("By bob", 1, "bob"),
        shares(1, "bob", "viewer"),
        todos_of(1, "bob"),
        adds_todo("By bob", 1, "bob"),
        renames(1, "Office", "bob"),
        shares(1, "bob", "owner", "bob"),
        shares(1, "bob", "editor"),
        adds_todo("By bob", 1, "bob"),
        renames(1, "Office", "bob"),
        todos_of(1),
        unshares(1, "bob", "bob"),
        todos_of(1, "bob"),
    ],
    "a member leaves": [
        adds("Work"),
        shares(1, "bob", "owner"),
        of_list(
            "leave 1",
            lambda fz, me: fz.lists(me).leave(1),
            Request("DELETE", "/lists/1/members/bob"),
            "bob",
            NOTHING,
        ),
        lists("bob"),
        of_list("leave 1", lambda fz, me: fz.lists(me).leave(1)),
        members(1),
    ],
    "calendars": [
        calendar("show", lambda fz: fz.calendar("ana").show(), "GET"),
        calendar("revoke", lambda fz: fz.calendar("ana").revoke(), "DELETE"),
        calendar("renew", lambda fz: fz.calendar("ana").renew(), "POST"),
        calendar("show", lambda fz: fz.calendar("ana").show(), "GET"),
        calendar("renew", lambda fz: fz.calendar("ana").renew(), "POST"),
        calendar("revoke", lambda fz: fz.calendar("ana").revoke(), "DELETE", NOTHING),
        calendar("show", lambda fz: fz.calendar("ana").show(), "GET"),
    ],
    "ids of other programs": [
        imports("json", KNOWN),
        imports("json", KNOWN),
        imports("json", CHANGED),
        exports("json"),
        beyond(imports("json", REPEATED)),
        exports("json"),
    ],
    **{f"a file: {name}": [imports(name, text), exports(name), imports(name, text)] for name, text in FILES.items()},
}
