"""Settings: which source wins, what is said about it, and that no secret is."""

from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest

from fastzero_core import InvalidInputError, load_settings, settings
from fastzero_core.credentials import app_passwords
from fastzero_core.settings import origins

SECRET = "s3kr1t-never-shown"
Write = Callable[[str], None]


@pytest.fixture(autouse=True)
def secrets_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "SECRETS_FOLDER", folder)
    return folder


@pytest.fixture
def user_file() -> Path:
    path = settings._user_file()
    path.parent.mkdir(parents=True)
    return path


def _source(name: str) -> str:
    return next(origin.source for origin in origins() if origin.name == name)


def test_each_source_wins_over_those_below_it(
    secrets_folder: Path, user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers: list[tuple[str, Callable[[str], object]]] = [
        ("user configuration", lambda value: user_file.write_text(f'project = "{value}"\n')),
        ("fastzero.toml", lambda value: Path("fastzero.toml").write_text(f'project = "{value}"\n')),
        (str(secrets_folder), lambda value: (secrets_folder / "FASTZERO_PROJECT").write_text(f"{value}\n")),
        (".env", lambda value: Path(".env").write_text(f"FASTZERO_PROJECT={value}\n")),
        ("environment", lambda value: monkeypatch.setenv("FASTZERO_PROJECT", value)),
    ]
    assert (load_settings().project, _source("project")) == ("fastzero", "default")
    for number, (source, write) in enumerate(layers):
        write(f"layer-{number}")
        assert (load_settings().project, _source("project")) == (f"layer-{number}", source)
    assert load_settings(project="flagged").project == "flagged"
    assert origins(project="flagged")[0].source == "flag"


def test_a_mounted_url_may_be_followed_by_the_one_with_the_next_password(secrets_folder: Path) -> None:
    urls = [f"postgresql://fastzero:{password}@database/fastzero" for password in ("current", "next")]
    (secrets_folder / "DATABASE_URL").write_text("\n".join(urls))
    found = load_settings()
    assert found.database_url is not None
    assert found.database_url.get_secret_value() == urls[0]
    (secrets_folder / "database_url").write_text("\n".join(urls))  # as containers have it
    read = app_passwords(found)
    assert read is not None
    assert read() == ["current", "next"]


def test_a_flag_that_was_not_given_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_USER", "ana")
    assert load_settings(user=None).user == "ana"


def test_an_empty_variable_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    assert load_settings().database_url is None


@pytest.mark.usefixtures("trusted_folder")
@pytest.mark.parametrize("where", ["environment", "secrets", "secrets, lower case", "fastzero.toml"])
def test_the_database_url_has_its_usual_name_everywhere(
    where: str, secrets_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://ana:secret@host/db"
    match where:
        case "environment":
            monkeypatch.setenv("DATABASE_URL", url)
        case "secrets":
            (secrets_folder / "DATABASE_URL").write_text(url + "\n")
        case "secrets, lower case":
            (secrets_folder / "database_url").write_text(url)
        case _:
            Path("fastzero.toml").write_text(f'database_url = "{url}"\n')
    found = load_settings().database_url
    assert found is not None
    assert found.get_secret_value() == url
    assert _source("database_url") != "default"


def test_of_a_dotenv_only_fastzero_s_own_names_count() -> None:
    Path(".env").write_text(
        "DATABASE_URL=postgresql://host/db\nSECRET_KEY=key\nALGORITHM=HS512\nACCESS_TOKEN_EXPIRE_MINUTES=7\n"
        "FASTZERO_USER=ana\nfastzero_log=json\n"
    )
    settings = load_settings()
    assert (settings.database_url, settings.secret_key) == (None, None)
    assert (settings.algorithm, settings.access_token_expire_minutes) == ("HS256", 30)
    assert (settings.user, settings.log) == ("ana", "json")
    assert (_source("database_url"), _source("algorithm"), _source("user")) == ("default", "default", ".env")


@pytest.mark.usefixtures("trusted_folder")
@pytest.mark.parametrize("where", ["environment", "secrets", "fastzero.toml", "user configuration"])
def test_a_project_that_a_flag_names_beats_a_database_that_none_names(
    where: str, secrets_folder: Path, user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    match where:
        case "environment":
            monkeypatch.setenv("DATABASE_URL", "postgresql://host/db")
        case "secrets":
            (secrets_folder / "DATABASE_URL").write_text("postgresql://host/db")
        case "fastzero.toml":
            Path("fastzero.toml").write_text('database_url = "postgresql://host/db"\n')
        case _:
            user_file.write_text('database_url = "postgresql://host/db"\n')
    assert load_settings().database_url is not None
    assert load_settings(project="one").database_url is None
    assert next(each for each in origins(project="one") if each.name == "database_url").source == "flag"


def test_a_database_that_a_flag_names_beats_every_project(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_settings(project="one", database_url="postgresql://host/db").database_url
    assert found is not None
    assert found.get_secret_value() == "postgresql://host/db"


def test_a_project_of_the_environment_leaves_the_database_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://host/db")
    monkeypatch.setenv("FASTZERO_PROJECT", "one")
    settings = load_settings()
    assert settings.database_url is not None
    assert (settings.is_flag("project"), settings.is_flag("database_url")) == (False, False)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ana:{SECRET}@host/db")
    assert SECRET not in repr(load_settings())
    assert SECRET not in repr(origins())


def test_every_setting_is_listed_once() -> None:
    assert [origin.name for origin in origins()] == list(settings.Settings.model_fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project", "Not A Name"),
        ("project", "../up"),
        ("database_port", "0"),
        ("database_port", "65536"),
        ("database_port", "many"),
        ("timeout", "0"),
        ("timeout", "nan"),
        ("output", "xml"),
        ("color", "blue"),
        ("runtime", "cloud"),
        ("no_input", "perhaps"),
        ("postgres_settings", "not json"),
        ("postgres_settings", "[1]"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_settings_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"FASTZERO_{name.upper()}", value)
    with pytest.raises(InvalidInputError, match=f"invalid FASTZERO_{name.upper()}") as refused:
        load_settings()
    assert (refused.value.exit_code, refused.value.field) == (2, name)


def test_settings_that_are_no_json_are_refused_with_their_variable_the_reason_and_an_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FASTZERO_POSTGRES_SETTINGS", '{"work_mem": ')
    with pytest.raises(InvalidInputError) as refused:
        load_settings()
    assert "FASTZERO_POSTGRES_SETTINGS" in refused.value.message
    assert "line 1 column 14" in refused.value.message
    assert '{"work_mem": "64MB"}' in refused.value.message
    assert "Source" not in refused.value.message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("fastzero.toml", b"project = \n"),
        ("fastzero.toml", b"\xff\xfe"),
        (".env", b"\xff\xfe"),
        ("fastzero.toml", b"project = 1\n"),
    ],
)
def test_a_file_that_cannot_be_read_is_invalid_input(name: str, content: bytes) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(InvalidInputError):
        load_settings()


def test_an_unreadable_user_configuration_is_invalid_input(user_file: Path) -> None:
    user_file.write_text("[[[")
    with pytest.raises(InvalidInputError):
        load_settings()


@pytest.mark.usefixtures("trusted_folder")
def test_settings_of_several_values_are_written_as_json_or_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("fastzero.toml").write_text('[postgres_settings]\nwork_mem = "8MB"\n')
    assert load_settings().postgres_settings == {"work_mem": "8MB"}
    monkeypatch.setenv("FASTZERO_POSTGRES_SETTINGS", '{"work_mem": "9MB"}')
    assert load_settings().postgres_settings == {"work_mem": "9MB"}


@pytest.mark.usefixtures("trusted_folder")
def test_tables_of_two_files_are_joined_and_the_folder_s_keys_win(user_file: Path) -> None:
    user_file.write_text('[postgres_settings]\nwork_mem = "4MB"\nwal_level = "logical"\n')
    Path("fastzero.toml").write_text('[postgres_settings]\nwork_mem = "8MB"\n')
    assert load_settings().postgres_settings == {"work_mem": "8MB", "wal_level": "logical"}


def test_home_is_an_absolute_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_HOME", "~/state")
    assert load_settings().home == Path.home() / "state"
    assert load_settings(home=Path("here")).home == Path.cwd() / "here"


def test_what_others_write_into_a_dotenv_is_ignored() -> None:
    Path(".env").write_text("SOMETHING_ELSE=1\nFASTZERO_UNHEARD_OF=1\n")
    assert load_settings().project == "fastzero"


@pytest.mark.parametrize("text", ["\nFASTZERO_PROJECT = 'x'\n", "\nPROJECT = 'x'\n", "\n[another]\nkey = 1\n"])
def test_an_unknown_key_of_a_file_of_fastzero_s_own_is_refused_with_its_line(text: str, user_file: Path) -> None:
    Path("fastzero.toml").write_text(text)
    with pytest.raises(InvalidInputError, match=r"^fastzero\.toml:2: unknown key"):
        load_settings()
    Path("fastzero.toml").unlink()
    user_file.write_text(text)
    with pytest.raises(InvalidInputError, match="unknown key"):
        load_settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError):
        load_settings().project = "other"


def test_the_names_that_containers_use_have_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "k" * 40)
    monkeypatch.setenv("ALGORITHM", "HS384")
    monkeypatch.setenv("ACCESS_TOKEN_EXPIRE_MINUTES", "7")
    settings = load_settings()
    assert settings.secret_key is not None
    assert settings.secret_key.get_secret_value() == "k" * 40
    assert (settings.algorithm, settings.access_token_expire_minutes) == ("HS384", 7)
    assert "kkk" not in str(origins())


@pytest.mark.parametrize("text", ["https://a.example,https://b.example", " https://a.example , https://b.example,"])
def test_origins_are_separated_by_commas(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_CORS_ORIGINS", text)
    assert load_settings().cors_origins == ["https://a.example", "https://b.example"]


def test_what_the_app_is_handed_makes_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {
        "algorithm": "HS512",
        "session_hours": 1.5,
        "pool_size": 3,
        "docs": False,
        "metrics": False,
        "cors_origins": ["https://a.example"],
        "log": "json",
        "argon2_time": 4,
    }
    variables = load_settings(**changed).app_variables()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert {name: getattr(load_settings(), name) for name in changed} == changed
    assert load_settings().app_variables() == variables
