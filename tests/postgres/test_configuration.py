"""How PostgreSQL is told its configuration."""

from fastzero_core.postgres.configuration import arguments, initdb_locale


def test_each_setting_is_an_argument_with_its_value() -> None:
    assert arguments({"port": "1", "search_path": "a, b"}) == ["-c", "port=1", "-c", "search_path=a, b"]


def test_the_locale_is_the_builtin_one_where_there_is_one() -> None:
    assert "--locale-provider=builtin" in initdb_locale(17)
    assert initdb_locale(16) == ["--locale=C.UTF-8"]
