"""Reassign everything that one role owns in a database or on a server to another role, with its grants.

REASSIGN OWNED refuses the bootstrap superuser, so the owned objects are read from the catalogs. Not reassigned are
objects of extensions and of PostgreSQL itself, and objects that only a superuser can own: foreign-data wrappers, event
triggers and their functions, subscriptions, and publications of all tables.
"""

from typing import TYPE_CHECKING

from .sql import assignment, quote

if TYPE_CHECKING:
    import psycopg

FIRST_USER_OID = 16_384  # the first oid of objects that initdb did not create

SCHEMAS = """
    SELECT nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
        AND (nspname = 'public' OR pg_get_userbyid(nspowner) = %s) ORDER BY 1
"""


def _owned(catalog: str, owner: str, statement: str, *, joined: str = "", where: str = "true") -> str:
    """Return the query for the statements that reassign the objects of a catalog; its alias is `o`."""
    return f"""
        SELECT format({statement}, %(to)s::text) FROM {catalog} o {joined}
        WHERE o.{owner} = (SELECT oid FROM pg_authid WHERE rolname = %(of)s) AND o.oid >= {FIRST_USER_OID} AND {where}
            AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{catalog}'::regclass AND e.objid = o.oid
                AND e.deptype = 'e')
        ORDER BY o.oid
    """  # noqa: S608


def _named(catalog: str, prefix: str, kind: str, *, using: str = "", where: str = "true") -> str:
    """Return the same query for objects with a name in a schema."""
    names = f"n.nspname, o.{prefix}name"
    joined = f"JOIN pg_namespace n ON n.oid = o.{prefix}namespace"
    if using:
        joined, names = f"{joined} JOIN pg_am a ON a.oid = o.{using}", f"{names}, a.amname"
    words = f"ALTER {kind} %%I.%%I{' USING %%I' if using else ''} OWNER TO %%I"
    return _owned(catalog, f"{prefix}owner", f"'{words}', {names}", joined=f"{joined}", where=where)


_LINKED = (
    "SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = o.oid"
    " AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')"
)
_IN_DATABASE = (
    # Schemas first, so that the new owner of the objects in them does not need a separate CREATE privilege.
    """
        SELECT format('ALTER SCHEMA %%I OWNER TO %%I', nspname, %(to)s::text) FROM pg_namespace o
        WHERE nspowner = (SELECT oid FROM pg_authid WHERE rolname = %(of)s)
            AND (o.oid >= 16384 OR nspname = 'public') AND nspname !~ '^pg_'
            AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_namespace'::regclass AND e.objid = o.oid
                AND e.deptype = 'e')
    """,
    _named("pg_class", "rel", "TABLE", where="o.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_'"),
    _named("pg_class", "rel", "SEQUENCE", where=f"o.relkind = 'S' AND NOT EXISTS ({_LINKED})"),
    _owned(
        "pg_proc",
        "proowner",
        "'ALTER ROUTINE %%s OWNER TO %%I', o.oid::regprocedure",
        where="NOT EXISTS (SELECT FROM pg_event_trigger t WHERE t.evtfoid = o.oid)",
    ),
    _named(
        "pg_type",
        "typ",
        "TYPE",
        where="(o.typtype IN ('b', 'd', 'e', 'r') OR EXISTS (SELECT FROM pg_class c WHERE c.oid = o.typrelid"
        " AND c.relkind = 'c')) AND NOT EXISTS (SELECT FROM pg_type l WHERE l.typarray = o.oid)",
    ),
    _owned("pg_operator", "oprowner", "'ALTER OPERATOR %%s OWNER TO %%I', o.oid::regoperator"),
    _named("pg_opclass", "opc", "OPERATOR CLASS", using="opcmethod"),
    _named("pg_opfamily", "opf", "OPERATOR FAMILY", using="opfmethod"),
    _named("pg_collation", "coll", "COLLATION"),
    _named("pg_conversion", "con", "CONVERSION"),
    _named("pg_statistic_ext", "stx", "STATISTICS"),
    _named("pg_ts_dict", "dict", "TEXT SEARCH DICTIONARY"),
    _named("pg_ts_config", "cfg", "TEXT SEARCH CONFIGURATION"),
    _owned("pg_foreign_server", "srvowner", "'ALTER SERVER %%I OWNER TO %%I', o.srvname"),
    _owned(
        "pg_publication",
        "pubowner",
        "'ALTER PUBLICATION %%I OWNER TO %%I', o.pubname",
        where="NOT puballtables AND NOT EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = o.oid)",
    ),
    # Default privileges on objects that the role creates later.
    """
        SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I %%s %%s %%s ON %%s %%s %%s %%s', %(to)s::text,
            'IN SCHEMA ' || quote_ident(n.nspname), 'GRANT', g.privilege_type, k.kind, 'TO',
            coalesce(quote_ident(r.rolname), 'PUBLIC'), CASE WHEN g.is_grantable THEN 'WITH GRANT OPTION' END)
        FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) g
            LEFT JOIN pg_roles r ON r.oid = g.grantee,
            (VALUES ('r', 'TABLES'), ('S', 'SEQUENCES'), ('f', 'FUNCTIONS'), ('T', 'TYPES'), ('n', 'SCHEMAS'),
                ('L', 'LARGE OBJECTS')) AS k (code, kind)
        WHERE pg_get_userbyid(d.defaclrole) = %(of)s AND g.grantee <> d.defaclrole AND d.defaclobjtype = k.code
    """,
    # Built-in default privileges of PUBLIC that were revoked.
    """
        SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I REVOKE ALL ON %%s FROM PUBLIC', %(to)s::text, k.kind)
        FROM pg_default_acl d, (VALUES ('f', 'FUNCTIONS'), ('T', 'TYPES')) AS k (code, kind)
        WHERE pg_get_userbyid(d.defaclrole) = %(of)s AND d.defaclnamespace = 0 AND d.defaclobjtype = k.code
            AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) g WHERE g.grantee = 0)
    """,
    """
        SELECT format('CREATE USER MAPPING IF NOT EXISTS FOR %%I SERVER %%I OPTIONS (%%s)', %(to)s::text, s.srvname,
            (SELECT string_agg(format('%%I %%L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)), ', ')
            FROM unnest(m.umoptions) o))
        FROM pg_user_mapping m JOIN pg_foreign_server s ON s.oid = m.umserver
        WHERE pg_get_userbyid(m.umuser) = %(of)s
    """,
)
# A block on the server, since a database may have millions of large objects.
_LARGE_OBJECTS = """
    DO $do$ DECLARE one oid; BEGIN
        FOR one IN SELECT oid FROM pg_largeobject_metadata WHERE pg_get_userbyid(lomowner) = {of} LOOP
            EXECUTE format('ALTER LARGE OBJECT %s OWNER TO %I', one, {to});
        END LOOP;
    END $do$
"""
_OF_SERVER = (
    """
        SELECT format('ALTER DATABASE %%I OWNER TO %%I', datname, %(to)s::text) FROM pg_database
        WHERE pg_get_userbyid(datdba) = %(of)s AND datname NOT IN ('postgres', 'template0', 'template1')
    """,
    """
        SELECT format('GRANT CREATE ON TABLESPACE %%I TO %%I', spcname, %(to)s::text) FROM pg_tablespace
        WHERE pg_get_userbyid(spcowner) = %(of)s AND spcname !~ '^pg_'
    """,
    """
        SELECT unnest(ARRAY[format('ALTER ROLE %%I CONNECTION LIMIT %%s', %(to)s::text, rolconnlimit),
            format('ALTER ROLE %%I CONNECTION LIMIT -1', %(of)s::text)])
        FROM pg_roles WHERE rolname = %(of)s AND rolconnlimit <> -1
        UNION ALL SELECT unnest(ARRAY[format('ALTER ROLE %%I VALID UNTIL %%L', %(to)s::text, rolvaliduntil),
            format('ALTER ROLE %%I VALID UNTIL %%L', %(of)s::text, 'infinity')])
        FROM pg_roles WHERE rolname = %(of)s AND rolvaliduntil < 'infinity'
        UNION ALL SELECT format('COMMENT ON ROLE %%I IS %%L', %(to)s::text, written)
        FROM pg_roles, shobj_description(oid, 'pg_authid') written WHERE rolname = %(of)s AND written IS NOT NULL
    """,
    # Members of the old role become members of the new one. The superuser had the privileges of all ordinary roles; the
    # owner still needs them to back up and restore their objects, so it becomes a member of these roles.
    """
        SELECT format('GRANT %%I TO %%I', %(to)s::text, m.rolname) FROM pg_auth_members a
            JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
        WHERE g.rolname = %(of)s AND m.rolname <> %(to)s AND NOT m.rolsuper
        UNION SELECT format('REVOKE %%I FROM %%I', %(of)s::text, m.rolname) FROM pg_auth_members a
            JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member WHERE g.rolname = %(of)s
        UNION SELECT format('GRANT %%I TO %%I', r.rolname, %(to)s::text) FROM pg_roles r
        WHERE r.rolname !~ '^pg_' AND r.rolname NOT IN (%(of)s, %(to)s)
            AND NOT (r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls)
            AND NOT (pg_has_role(r.oid, %(of)s, 'MEMBER') OR pg_has_role(r.oid, %(to)s, 'MEMBER'))
        UNION SELECT format('GRANT %%I TO %%I', g.rolname, %(to)s::text) FROM pg_auth_members a
            JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
        WHERE m.rolname = %(of)s AND g.rolname <> %(to)s
    """,
)
_SETTINGS = """
    SELECT coalesce(quote_ident(datname), ''), unnest(setconfig) FROM pg_db_role_setting s
    LEFT JOIN pg_database d ON d.oid = s.setdatabase WHERE pg_get_userbyid(setrole) = %(of)s
"""


def reassign_objects(session: "psycopg.Connection", of: str, to: str) -> None:
    """Reassign a role's objects in the session's database. Requires a superuser and an open transaction."""
    for query in _IN_DATABASE:
        _run(session, query, of, to)
    of, to = (f"'{role}'" for role in (of, to))
    session.execute(_LARGE_OBJECTS.format(of=of, to=to).encode())


def reassign_server_objects(session: "psycopg.Connection", of: str, to: str) -> None:
    """Reassign a role's databases, settings and memberships. Requires a superuser and an open transaction."""
    for query in _OF_SERVER:
        _run(session, query, of, to)
    for database, setting in session.execute(_SETTINGS, {"of": of}).fetchall():
        name, _, value = str(setting).partition("=")
        where = f" IN DATABASE {database}" if database else ""
        session.execute(f"ALTER ROLE {quote(to)}{where} {assignment(name, value)}".encode())
        session.execute(f"ALTER ROLE {quote(of)}{where} RESET {quote(name)}".encode())


def _run(session: "psycopg.Connection", query: str, of: str, to: str) -> None:
    for (statement,) in session.execute(query.encode(), {"of": of, "to": to}).fetchall():
        session.execute(str(statement).encode())
