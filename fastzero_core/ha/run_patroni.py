"""Write Patroni's configuration with the passwords in it, then become Patroni.

This is a program of the image, started as a file, which imports nothing of fastzero. Patroni reads no password from a
file, and a variable of the container would show it. So the configuration in the variable names files as
`password_file`, and each is replaced by the `password` in it.
"""

import json
import os
from pathlib import Path
from typing import Any, NoReturn

VARIABLE = "FASTZERO_PATRONI"  # the configuration as JSON; Patroni reads those that begin with PATRONI_ itself
FILE = "/tmp/patroni.json"  # noqa: S108 - in the container, whose root is read-only
# Patroni would use the address of a name for ten minutes. A server that is replaced gets another one: until then it
# could not be asked, and the others could not take over.
PATRONI = """\
from patroni.dcs.etcd import DnsCachingResolver
DnsCachingResolver.__init__.__defaults__ = (5.0, 5.0)
from patroni.__main__ import main
main()
"""


def with_passwords(document: Any) -> Any:
    """Return the document with the passwords instead of the names of their files."""
    if isinstance(document, list):
        return [with_passwords(each) for each in document]
    if not isinstance(document, dict):
        return document
    return dict(_entry(name, value) for name, value in document.items())


def _entry(name: str, value: Any) -> tuple[str, Any]:
    if name == "password_file":
        return "password", Path(value).read_text(encoding="utf-8").strip()
    return name, with_passwords(value)


def main() -> NoReturn:
    os.umask(0o077)
    document = with_passwords(json.loads(os.environ.pop(VARIABLE)))
    Path(FILE).write_text(json.dumps(document), encoding="utf-8")
    os.execvp("python3", ["python3", "-c", PATRONI, FILE])  # noqa: S606


if __name__ == "__main__":
    main()
