"""Build and parse database URLs. Standard library only, so that this does not load SQLAlchemy.

Options have the names of libpq: host, port, user, password, dbname, sslmode, …
All special characters are percent-encoded: libpq rejects a space, and does not decode a plus sign to a space.

Several hosts may be written as `postgresql://a:1,b:2/db` or `?host=a:1&host=b:2`. They are rendered as
`?host=a,b&port=1,2`, which libpq and its programs, SQLAlchemy and asyncpg all read. Unless the URL says otherwise, a
session must then be with the server that accepts writes.
"""

import os
import re
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, unquote

from ..errors import InvalidInputError
from .driver_errors import URL_HINT

DEFAULT_PORT = "5432"
IPV4 = 4
POSTGRES_DRIVERS = (
    "postgres",
    "postgresql",
    "postgresql+psycopg",
    "postgresql+psycopg2",
    "postgresql+asyncpg",
)
PASSWORDS = ("password", "sslpassword")
WITHOUT_TLS = ("disable", "allow", "prefer")  # values of sslmode that allow a connection without TLS
LOOPBACK = ("localhost", "127.0.0.1", "::1")
CONNECT_TIMEOUT_OF_EACH = 2  # seconds, if there are several hosts: one that is off must not use up the time
ACCEPTS_WRITES = ("target_session_attrs", "read-write")

# Splits a URL as SQLAlchemy does.
_URL = re.compile(
    r"""(?P<driver>[\w+]+)://
    (?: (?P<user>[^:/]*) (?: :(?P<password>[^@]*) )? @ )?
    (?: (?P<hosts>[^/?@]*,[^/?@]*) | (?: \[(?P<ipv6>[^/?]+)\] | (?P<host>[^/:?]+) )? (?: :(?P<port>\d*) )? )
    (?: /(?P<dbname>[^?]*) )?
    (?: \?(?P<query>.*) )?""",
    re.VERBOSE | re.DOTALL,
)
_HOST = re.compile(r"(?:\[(?P<ipv6>[^]]+)]|(?P<host>[^]:/@[]*))(?::(?P<port>\d*))?")

# https://www.postgresql.org/docs/current/libpq-envars.html
_VARIABLES = {
    "application_name": "PGAPPNAME",
    "channel_binding": "PGCHANNELBINDING",
    "client_encoding": "PGCLIENTENCODING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "dbname": "PGDATABASE",
    "gssdelegation": "PGGSSDELEGATION",
    "gssencmode": "PGGSSENCMODE",
    "gsslib": "PGGSSLIB",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "krbsrvname": "PGKRBSRVNAME",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "max_protocol_version": "PGMAXPROTOCOLVERSION",
    "min_protocol_version": "PGMINPROTOCOLVERSION",
    "options": "PGOPTIONS",
    "passfile": "PGPASSFILE",
    "password": "PGPASSWORD",
    "port": "PGPORT",
    "require_auth": "PGREQUIREAUTH",
    "requirepeer": "PGREQUIREPEER",
    "service": "PGSERVICE",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "sslcert": "PGSSLCERT",
    "sslcertmode": "PGSSLCERTMODE",
    "sslcompression": "PGSSLCOMPRESSION",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslkey": "PGSSLKEY",
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslrootcert": "PGSSLROOTCERT",
    "sslsni": "PGSSLSNI",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "user": "PGUSER",
}


def database_url(user: str, password: str | None, host: str, port: int, database: str, **more: str) -> str:
    """Return the URL of a database. `host` may be an IPv6 address or the folder of a socket.

    `more` are further libpq options.
    """
    options = {"user": user, "host": host, "port": str(port), "dbname": database, **more}
    return render(options if password is None else {**options, "password": password})


def render(options: Mapping[str, str]) -> str:
    """Return the URL for these options."""
    rest = dict(options)
    user, password = rest.pop("user", None), rest.pop("password", None)
    # A folder or a list of hosts cannot be the host part of a URL, and becomes a query option.
    host = rest.pop("host", "") if not re.search("[/,]", rest.get("host", "")) else ""
    port = rest.pop("port", "") if rest.get("port", "").isdigit() else ""
    database = rest.pop("dbname", None)
    login = "" if user is None and password is None else f"{_quoted(user or '')}{_after(':', password)}@"
    address = f"{_bracketed(host)}:{port}" if port else _bracketed(host)
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in sorted(rest.items()))
    return f"postgresql://{login}{address}{_after('/', database)}{'?' if query else ''}{query}"


def parse(url: str) -> dict[str, str]:
    """Return the options in a URL by their libpq names. Raises InvalidInputError if it is not a PostgreSQL URL."""
    match = _URL.fullmatch(url)
    if match is None:
        raise invalid_url("the database URL cannot be read")
    parts = match.groupdict()
    if parts["driver"] not in POSTGRES_DRIVERS:
        raise invalid_url(f"the database URL begins with {parts['driver']!r}; fastzero needs PostgreSQL")
    quoted = {name: parts[name] for name in ("user", "password", "dbname")}
    query = parse_qsl(parts["query"] or "", keep_blank_values=True)
    options = {
        **{name: unquote(value) for name, value in quoted.items() if value is not None},
        "host": parts["ipv6"] or parts["host"],
        "port": parts["port"],
        **dict(query),
        **_listed(parts["hosts"], query),
    }
    given = {name: value for name, value in options.items() if value}
    _refuse_unencodable("".join(given.values()))
    return given


def _listed(hosts: str | None, query: list[tuple[str, str]]) -> dict[str, str]:
    """Return the options for hosts that are given as a list, or with their ports in the query; else {}."""
    named = [value for name, value in query if name == "host"] or ([hosts] if hosts else [])
    tokens = ",".join(named).split(",")
    pairs = [_host_and_port(token) for token in tokens]
    if tokens == [host for host, _ in pairs] and len(tokens) == 1:
        return {}
    given = dict(query)
    separate = given.get("port", "").split(",") if given.get("port") else []
    ports = [port for _, port in pairs] if not separate else separate * (len(pairs) if len(separate) == 1 else 1)
    if len(ports) != len(pairs):
        raise invalid_url(f"the database URL has {len(pairs)} hosts and {len(ports)} ports")
    written = ",".join(port or DEFAULT_PORT for port in ports) if any(ports) else ""
    default = dict([ACCEPTS_WRITES]) if len(pairs) > 1 and "PGTARGETSESSIONATTRS" not in os.environ else {}
    return {**default, **given, "host": ",".join(host for host, _ in pairs), "port": written}


def _host_and_port(text: str) -> tuple[str, str]:
    match = _HOST.fullmatch(text)
    return (match["ipv6"] or match["host"], match["port"] or "") if match else (text, "")


def _refuse_unencodable(text: str) -> None:
    if "\0" in text:
        raise invalid_url("the database URL must not contain a NUL character")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise invalid_url("the database URL is not UTF-8 text")


def invalid_url(message: str) -> InvalidInputError:
    return InvalidInputError(message, field="database_url", hint=URL_HINT)


def session_options(settings: Mapping[str, str]) -> str:
    """Return the value of libpq's `options` for these settings."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def variables(url: str) -> dict[str, str]:
    """Return the options in a URL as libpq's environment variables, without options that have no variable."""
    return {_VARIABLES[name]: value for name, value in parse(url).items() if name in _VARIABLES}


def url_of(url: str, database: str | None = None, *, password: bool = True, require_auth: bool = True) -> str:
    """Return the URL in the form that libpq accepts, optionally for another database or without the passwords.

    `require_auth=False` removes this option for drivers and programs that do not know it; pass it in PGREQUIREAUTH.
    """
    options = parse(url)
    if database is not None:
        options["dbname"] = database
    left_out = {*(() if password else PASSWORDS), *(() if require_auth else ("require_auth",))}
    return render({name: value for name, value in options.items() if name not in left_out})


def as_role(url: str, role: str, password: str) -> str:
    """Return the URL with the user and the password of another role."""
    return render({**parse(url), "user": role, "password": password})


def without_password(url: str) -> str:
    """Return the URL without passwords, for output and arguments."""
    return url_of(url, password=False)


def address(url: str) -> str:
    """Return `host:port` for display, several separated by commas."""
    return ",".join(f"{_bracketed(host)}:{port}" for host, port in hosts(parse(url)))


def hosts(options: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the hosts in these options, each with its port."""
    names = options.get("host", "localhost").split(",")
    ports = options.get("port", DEFAULT_PORT).split(",")
    return list(zip(names, ports if len(ports) == len(names) else ports * len(names), strict=True))


def sslmode(url: str) -> str:
    """Return the sslmode that libpq uses: the URL's, else PGSSLMODE, else libpq's default."""
    return parse(url).get("sslmode") or os.environ.get("PGSSLMODE") or "prefer"


def unprotected_host(url: str) -> str | None:
    """Return the host to which a login may send its password in clear text over a network, None if it cannot.

    It can if a password is given, and neither TLS nor SCRAM is required.
    """
    options = parse(url)
    is_protected = sslmode(url) not in WITHOUT_TLS or options.get("require_auth") == "scram-sha-256"
    if is_protected or not (options.get("password") or os.environ.get("PGPASSWORD")):
        return None
    hosts = (options.get("hostaddr") or options.get("host", "")).split(",")
    return next((host for host in hosts if host and not host.startswith(("/", "@")) and host not in LOOPBACK), None)


def clear_password(url: str) -> str:
    """Return a warning if a password may be sent over a network in clear text, else an empty string."""
    host = unprotected_host(url)
    if not host or _is_of_this_machine(host):
        return ""
    return (
        f"the password for {host} may be sent in clear text: sslmode is {sslmode(url)}. Require TLS in the URL:"
        " ?sslmode=verify-full&sslrootcert=system"
    )


def _is_of_this_machine(host: str) -> bool:
    """Return whether an address belongs to this machine, for example that of a Docker bridge."""
    try:
        address = ip_address(host)
        with socket.socket(socket.AF_INET if address.version == IPV4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except (ValueError, OSError):
        return False
    return True


def same_database(one: str, other: str) -> bool:
    """Return whether two URLs name the same role on the same database, also if they are written differently."""
    return _identity(one) == _identity(other)


def conninfo(database: str) -> str:
    """Return a database's name for `--dbname`. The option would parse a plain name with an equals sign as options."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def _identity(url: str) -> tuple[str, ...]:
    options = parse(url)
    user = options.get("user", "")
    where = [f"{LOOPBACK[0] if host in LOOPBACK else host.lower()}:{port}" for host, port in hosts(options)]
    return (*sorted(where), user, options.get("dbname", user))


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _after(mark: str, text: str | None) -> str:
    return "" if text is None else f"{mark}{_quoted(text)}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
