"""What most probably keeps an application from running, as its last words tell."""

import pytest

from fastzero_core.application.causes import probable_cause

SYNTAX = """
  File "/srv/app.py", line 3
    def app(:
            ^
SyntaxError: invalid syntax
"""
SETTINGS = """
pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings
SECRET_KEY
  Field required [type=missing, input_value={}, input_type=dict]
"""


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (SYNTAX, "SyntaxError in /srv/app.py, line 3: invalid syntax"),
        ("KeyError: 'API_KEY'", "the variable API_KEY is missing"),
        (SETTINGS, "the variable SECRET_KEY is missing or invalid"),
        ("ModuleNotFoundError: No module named 'redis'", "the module redis is not installed"),
        ('Error loading ASGI app. Attribute "ap" not found in module "main".', "module main has no ap"),
        ('Error loading ASGI app. Could not import module "mian".', "module mian is not there"),
        ("OSError: [Errno 98] Address already in use", "another program has its port"),
        (
            "OSError: [Errno 30] Read-only file system: '/srv/x'",
            "set `read_only = false` there if the folder has the code",
        ),
        ("PermissionError: [Errno 13] Permission denied: '/srv/x'", "its user may not write to /srv/x"),
        ("fastzero: nonsense cannot be run: No such file or directory", "its program is not installed"),
        ('FATAL:  password authentication failed for user "bob"', "it logs in to another database"),
        ("  Value error, Sentry is not set [type=value_error, input_value={}]", "a value (Sentry is not set)"),
        ("FileNotFoundError: Config file '/srv/app/../.env' not found.", "the file /srv/.env is missing"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'keys.pem'", "the file keys.pem is missing"),
        ("socket.gaierror: [Errno -2] Name or service not known", "a host that does not exist here"),
        ('could not translate host name "db" to address', "a host that does not exist here (db)"),
        ("(2003, \"Can't connect to MySQL server on 'localhost'\")", "it uses MySQL"),
        ("pymongo.errors.ServerSelectionTimeoutError: localhost:27017: [Errno 111]", "it uses MongoDB"),
        ("ConnectionError: Error 111 connecting to localhost:6379. Connection refused.", "does not answer"),
    ],
)
def test_last_words_tell_the_cause(said: str, cause: str) -> None:
    assert cause in probable_cause(said)


def test_a_key_that_is_no_variable_tells_nothing() -> None:
    assert probable_cause("KeyError: 'name'") == ""


def test_nothing_is_made_up() -> None:
    assert probable_cause("ValueError: some mistake of its own") == ""


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("INFO: Uvicorn running on http://127.0.0.1:9000 (Press CTRL+C)", "it listens on port 9000, not on 8000"),
        ("[INFO] Listening at: http://0.0.0.0:9000 (1)", "it listens on port 9000, not on 8000"),
        ("INFO: Uvicorn running on http://127.0.0.1:8000", "it listens on 127.0.0.1 alone"),
        ("working", "nothing says that it listens"),
        ("INFO: Uvicorn running on http://0.0.0.0:8000", ""),
    ],
)
def test_one_that_is_not_reached_listens_elsewhere(said: str, cause: str) -> None:
    assert cause in probable_cause(said, 8000, in_container=True)
