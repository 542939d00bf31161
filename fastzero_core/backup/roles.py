"""Read the roles of a server, and the statements that create them on another."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, text

from ..postgres.roles import REPLICATION
from ..postgres.sql import quote

OPTIONS_SINCE = 16  # from this version on, memberships have INHERIT and SET options, and a grantor needs ADMIN
_SWITCHES = (
    ("rolsuper", "SUPERUSER"),
    ("rolinherit", "INHERIT"),
    ("rolcreaterole", "CREATEROLE"),
    ("rolcreatedb", "CREATEDB"),
    ("rolcanlogin", "LOGIN"),
    ("rolreplication", "REPLICATION"),
    ("rolbypassrls", "BYPASSRLS"),
)
_CARRIED = f"rolname !~ '^pg_' AND rolname NOT IN (current_user, '{REPLICATION}')"
_BOOTSTRAP = 10  # the oid of the superuser that initdb creates
# Before 16, a member inherits if its role has INHERIT, and can always SET ROLE.
_MEMBERSHIPS = """
    SELECT g.rolname AS role, m.rolname AS member, CASE WHEN grantor <> :bootstrap THEN by.rolname END AS grantor,
        admin_option AS admin, coalesce((to_jsonb(a) ->> 'inherit_option')::bool, m.rolinherit) AS inherit,
        coalesce((to_jsonb(a) ->> 'set_option')::bool, true) AS set
    FROM pg_auth_members a JOIN pg_roles g ON g.oid = roleid JOIN pg_roles m ON m.oid = member
    LEFT JOIN pg_roles by ON by.oid = grantor WHERE m.rolname !~ '^pg_' ORDER BY roleid, member, grantor
"""


@dataclass(frozen=True)
class Membership:
    """The membership of a role in another. Without a `grantor` the bootstrap superuser granted it.

    `former` is the grantor on the old server, if it cannot be the grantor on the new one.
    """

    role: str
    member: str
    grantor: str | None
    admin: bool
    inherit: bool
    set: bool
    former: str | None = None

    def grant(self, major: int) -> str:
        """Return the statement that grants it on a server of that major version."""
        options = f"ADMIN {self.admin}, INHERIT {self.inherit}, SET {self.set}"
        if major < OPTIONS_SINCE:
            options = "ADMIN OPTION" if self.admin else ""
        by = f" GRANTED BY {quote(self.grantor)}" if self.grantor else ""
        return f"GRANT {quote(self.role)} TO {quote(self.member)}{' WITH ' + options if options else ''}{by}"


def creations(session: Connection, existing: Sequence[str] = ()) -> Iterator[str]:
    """Yield the statements that create a server's roles, with their passwords and comments. Requires a superuser.

    Leaves out predefined roles, the role of this session, and that of standbys, which the other server has of its own
    if it needs one. A role in `existing`, which the other server has already, is altered instead.
    """
    switches = ", ".join(f"CASE WHEN {column} THEN '{word}' ELSE 'NO{word}' END" for column, word in _SWITCHES)
    verb = "CASE WHEN rolname = ANY(:existing) THEN 'ALTER' ELSE 'CREATE' END"
    made = (
        f"SELECT format('%s ROLE %I CONNECTION LIMIT %s PASSWORD %L VALID UNTIL %L %s', {verb}, rolname, rolconnlimit,"  # noqa: S608
        f" rolpassword, coalesce(rolvaliduntil, 'infinity'), concat_ws(' ', {switches})) FROM pg_authid"
        f" WHERE {_CARRIED} ORDER BY oid"
    )
    comments = (
        "SELECT format('COMMENT ON ROLE %I IS %L', rolname, description) FROM pg_authid JOIN pg_shdescription"  # noqa: S608
        f" ON objoid = oid AND classoid = 'pg_authid'::regclass WHERE {_CARRIED}"
    )
    yield from session.execute(text(made), {"existing": list(existing)}).scalars()
    yield from session.execute(text(comments)).scalars()


def names(session: Connection) -> list[str]:
    """Return the roles of a server, without the predefined ones."""
    return list(session.execute(text("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'")).scalars())


def settings(session: Connection) -> Iterator[tuple[str, str, str]]:
    """Yield the settings of roles for all databases: the quoted role or ALL, the name and the value of the setting."""
    query = (
        "SELECT coalesce(quote_ident(rolname), 'ALL'), unnest(setconfig) FROM pg_db_role_setting"
        " LEFT JOIN pg_roles r ON r.oid = setrole WHERE setdatabase = 0"
    )
    for role, written in session.execute(text(query)):
        name, _, value = written.partition("=")
        yield role, name, value


def memberships(session: Connection) -> list[Membership]:
    """Return every membership that was granted on the server."""
    rows = session.execute(text(_MEMBERSHIPS), {"bootstrap": _BOOTSTRAP}).mappings()
    return [Membership(**row) for row in rows]


def in_order(granted: Iterable[Membership]) -> Iterator[Membership]:
    """Yield each membership after the one that gives its grantor the ADMIN option.

    Older servers allow a grantor without ADMIN. Such a membership is yielded without a grantor, and with the `former`
    one.
    """
    waiting, able = list(granted), set[tuple[str, str | None]]()
    while waiting:
        ready = [each for each in waiting if each.grantor is None or (each.role, each.grantor) in able]
        for each in ready or [_unable(waiting)]:
            waiting.remove(each)
            if each.admin:
                able.add((each.role, each.member))
            yield each if ready else replace(each, grantor=None, former=each.grantor)


def _unable(waiting: list[Membership]) -> Membership:
    """Return a membership whose grantor does not get ADMIN from any other membership."""
    able = {(each.role, each.member) for each in waiting if each.admin}
    return next((each for each in waiting if (each.role, each.grantor) not in able), waiting[0])
