"""Every mistake in fastzero.toml is told with its file, its line and what to do."""

from pathlib import Path

import pytest

from fastzero_core.application.reading import load, parse
from fastzero_core.errors import InvalidInputError

# A name, the text, the line of the mistake, what is wrong, and the remedy.
MISTAKES = [
    ("syntax", "[application]\nasgi = ", 2, "invalid value", "Correct the line"),
    ("unknown_key", '[application]\n\nasig = "a:app"', 3, "application.asig: unknown key", "Did you mean 'asgi'?"),
    ("unknown_key_unlike_any", "[application]\nqqq = 1", 2, "unknown key", "Keys there: asgi, wsgi"),
    ("text_for_a_number", '[application]\nport = "8000"', 2, "must be a whole number", "without quotes"),
    ("number_for_a_text", "[application]\nasgi = 1", 2, "must be text", 'asgi = "1"'),
    ("text_for_a_list", '[application]\nwatch = "src"', 2, "must be a list", 'watch = ["src"]'),
    ("text_for_a_table", '[application]\ndatabase = "x"', 2, "must be a table", "[application.database]"),
    ("port_out_of_range", "[application]\nport = 99999", 2, "99999 is too large", "Use 65535 or less"),
    ("port_zero", "[application]\nport = 0", 2, "0 is too small", "Use 1 or more"),
    ("no_object", '[application]\nasgi = "main"', 2, "invalid object 'main'", '"app.main:app"'),
    ("two_servers", '[application]\nasgi = "a:app"\nwsgi = "a:app"', 3, "'asgi' already", "Keep one of: asgi, wsgi"),
    ("path_out_of_the_folder", '[application]\ndirectory = "../x"', 2, "leads out of the folder", "below the folder"),
    ("absolute_path", '[application]\nenv_from = ["/etc/passwd"]', 2, "leads out of the folder", "below the folder"),
    ("path_that_does_not_exist", '[application]\ndirectory = "x"', 2, "'x' does not exist", "correct the path"),
    ("quotation_without_end", "[application]\ncommand = \"run 'x\"", 2, "cannot be split", "Close the quotation"),
    ("empty_command", '[application]\ntest = " "', 2, "empty", "remove the key"),
    ("password_in_a_command", '[application]\ncommand = "x {url}"', 2, "visible to every user", "Use a variable"),
    ("unknown_placeholder", '[application.environment]\nA = "{prot}"', 2, "{prot}", "Did you mean {port}?"),
    ("unknown_driver", '[application.environment]\nA = "{url:mysql}"', 2, "unknown driver 'mysql'", "asyncpg"),
    ("part_of_a_part", '[application.environment]\nA = "{host:x}"', 2, "takes nothing", "Write {host}"),
    ("unknown_service", '[application.environment]\nA = "{service:redis:port}"', 2, "'redis'", "[services.redis]"),
    ("unknown_port", '[application.environment]\nA = "{service:redis:1}"\n[services.redis]', 2, "6379", "Write"),
    ("truth_in_a_variable", "[application.environment]\nDEBUG = true", 2, "must be text", "in quotes"),
    ("no_variable", '[application.environment]\n"A B" = "x"', 2, "invalid variable 'A B'", "letters, digits"),
    ("fastzeros_own_variable", '[application.environment]\nFASTZERO_HOME = "x"', 2, "a setting of", "another name"),
    ("reserved_process", '[application.processes]\ndatabase = "x"', 2, "'database' is reserved", "another name"),
    ("no_name", '[application.processes]\nMy_Worker = "x"', 2, "invalid name 'My_Worker'", "a-z"),
    ("process_without_command", "[application.processes.w]\nreplicas = 2", 1, "'command' is missing", "command = "),
    ("unknown_restart", "[application.processes]\nw = {command = 'x', restart = 'never'}", 2, "'never'", "on-failure"),
    ("web_described_twice", '[application]\nasgi = "a:b"\n[application.processes]\nweb = "x"', 2, "too", "move"),
    ("no_path_of_a_url", '[application]\nhealth = "health"', 2, "invalid path", "Begin the path with a slash"),
    ("reserved_schema", '[application.database]\nschemas = ["pg_x"]', 2, "invalid schema", "pg_"),
    ("amount_without_unit", '[application.container]\nmemory = "512"', 2, "invalid amount", "512m"),
    ("service_without_image", '[application]\n[services.mail]\nports = [25]', 2, "'image' is missing", "image ="),
    ("name_used_twice", '[application.processes]\nredis = "x"\n[services.redis]', 2, "service", "another name"),
    ("reserved_service", '[application]\n[services.database]', 2, "'database' is reserved", "another name"),
    ("service_like_a_place", '[application]\n[services.database-2]', 2, "'database-2' is reserved", "another name"),
    ("service_like_web", '[application]\nasgi = "a:b"\n[services.web]\nimage = "x"', 3, "a process is", "another name"),
    ("service_like_a_replica", '[application.processes]\nw = {command = "x", replicas = 2}\n[services.w-2]',
     3, "a process is called 'w-2' too", "another name"),
    ("service_port_of_text", '[application]\n[services.redis]\nports = ["redis"]', 3, "invalid port 'redis'", "6379"),
    ("service_port_of_another_host", '[application]\n[services.redis]\nports = ["0.0.0.0:1:1"]', 3, "invalid", "6380"),
    ("service_port_out_of_range", '[application]\n[services.redis]\nports = ["99999:1"]', 3, "invalid port", "6380"),
    ("port_published_twice", '[application]\n[services.redis]\nports = ["1:1"]\n[services.valkey]\nports = ["1:1"]',
     5, "that of redis already", "another one"),
    ("program_with_a_url", '[application]\n[services.redis]\nprogram = "x {url}"', 3, "{url}", "keep the braces"),
    ("program_with_another_port", '[application]\n[services.redis]\nprogram = "x {app_port:1}"', 3, "not a port",
     "{app_port:6379}"),
    ("program_without_a_port", '[application]\n[services.x]\nimage = "x"\nprogram = "x {app_port}"', 4, "no port",
     "ports ="),
    ("unknown_key_of_a_service", '[application]\n[services.redis]\nvolumes = 1', 3, "unknown key", "'volume'"),
    ("unknown_key_of_a_container", '[application]\n[services.redis.container]\nreadonly = true', 3, "unknown key",
     "'read_only'"),
    ("services_alone", "[services.redis]", 1, "[application] is missing", "fastzero init"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "wrong", "remedy"), [each[1:] for each in MISTAKES], ids=[each[0] for each in MISTAKES]
)
def test_a_mistake_is_told_with_line_and_remedy(text: str, line: int, wrong: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse(text, tmp_path)
    assert raised.value.message.startswith(f"fastzero.toml:{line}: ")
    assert wrong in raised.value.message
    assert remedy in raised.value.hint


def test_the_first_of_several_mistakes_is_told_with_how_many_follow(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"fastzero.toml:2: .*unknown key \(1 more after it\)"):
        parse("[application]\nx = 1\ny = 2", tmp_path)


def test_a_value_of_a_variable_is_in_no_message(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse("[application.environment]\nPASSWORD = 271828", tmp_path)
    assert "271828" not in raised.value.message + raised.value.hint


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidInputError, match="leads out of the folder"):
        parse('[application]\ndirectory = "link"', tmp_path / "inside")


def test_a_line_is_counted_after_texts_of_several_lines(tmp_path: Path) -> None:
    text = '[application]\ntest = """\npytest \\\n  tests"""\nwatch = [\n  ".", # one\n]\nport = 0\n'
    with pytest.raises(InvalidInputError, match=r"^fastzero.toml:8: "):
        parse(text, tmp_path)


@pytest.mark.parametrize("text", ["a = " + "[" * 60_000, "a = " + "9" * 5_000], ids=["nesting", "digits"])
def test_what_no_parser_bears_is_a_mistake_as_well(text: str) -> None:
    with pytest.raises(InvalidInputError):
        load(text)
