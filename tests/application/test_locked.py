"""What pip installs for a poetry.lock on a machine without Poetry."""

from fastzero_core.application.locked import requirements

NEW = """
[[package]]
name = "colorama"
version = "0.4.6"
optional = false
markers = "sys_platform == 'win32'"
files = [{file = "colorama.whl", hash = "sha256:aa"}]

[[package]]
name = "spare"
version = "1"
optional = true
files = []
"""
OLD = """
[[package]]
name = "click"
version = "8.1.3"
optional = false
[package.dependencies]
Colorama = {version = "*", markers = "platform_system == 'Windows'"}
bcrypt = {version = "*", optional = true, markers = "extra == 'bcrypt'"}

[[package]]
name = "colorama"
version = "0.4.5"
optional = false

[[package]]
name = "bcrypt"
version = "3"
optional = false

[metadata]
lock-version = "1.1"
[metadata.files]
click = [{file = "click.whl", hash = "sha256:bb"}]
bcrypt = [{file = "bcrypt.whl", hash = "sha256:dd"}]
colorama = [{file = "colorama.whl", hash = "sha256:aa"}, {file = "colorama.tar.gz", hash = "sha256:cc"}]
"""


def test_each_package_has_its_marker_and_its_hashes() -> None:
    assert [*requirements(NEW)] == ["colorama==0.4.6 ; sys_platform == 'win32' --hash=sha256:aa"]


def test_a_lock_of_an_old_poetry_has_them_elsewhere() -> None:
    assert [*requirements(OLD)] == [
        "click==8.1.3 --hash=sha256:bb",
        "colorama==0.4.5 ; (platform_system == 'Windows') --hash=sha256:aa --hash=sha256:cc",
        "bcrypt==3 --hash=sha256:dd",
    ]


def test_what_the_project_itself_needs_is_needed_everywhere() -> None:
    assert [*requirements(OLD, {"colorama"})][1].startswith("colorama==0.4.5 --hash")
