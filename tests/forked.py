"""Python processes that need not start: copies of one that has everything imported.

`Popen` and `run` are subprocess's, with what they take and give. Where the command is Python or the console script, a
server, which has imported both packages, forks a process that becomes it: as real as any other, without the half
second of processor time that Python and the imports take. Everything else, and what wants another start of Python (its
variables, another locale, a user), is started as ever. Tests of the start itself use subprocess.
"""

import array
import atexit
import fcntl
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

SCRIPT = str(Path(sys.executable).with_name("fastzero"))
# Python, the C library and what is imported read these when they start.
AT_START = ("PYTHON", "LC_", "LANG", "LD_", "TZ", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "COVERAGE")
LARGEST = 2**20  # bytes of a request
NOT_IMPORTED = ("fastzero_core.testing", "fastzero_core.migrations", "fastzero_cli.__main__")


# -- the client: in the process of the tests --------------------------------------------------------------------


class Popen(subprocess.Popen[Any]):
    """A process that is forked where it can be."""

    _status: socket.socket | None = None  # the server says here how the process ended

    def _execute_child(self, args: Any, executable: Any, *options: Any) -> None:
        preexec, _, pass_fds, cwd, env, _, _, shell, *streams = options[:14]
        stdin, to_stdin, from_stdout, stdout, from_stderr, stderr = streams
        restore_signals, gid, gids, uid, umask, new_session, group = options[14:]
        words = [os.fspath(word) for word in args] if isinstance(args, list | tuple) else []
        environment = dict(os.environ if env is None else env)
        plain = not (executable or preexec or pass_fds or shell) and (gid, gids, uid, umask) == (None, None, None, -1)
        if not (plain and restore_signals and group == -1 and can_be_forked(words, environment)):
            super()._execute_child(args, executable, *options)  # type: ignore[misc]
            return
        request = {
            "words": words,
            "folder": os.fspath(cwd or Path.cwd()),
            "environment": environment,
            "session": new_session,
        }
        given = [number if fd == -1 else fd for number, fd in enumerate((stdin, stdout, stderr))]
        self.pid, self._status = _fork(request, given)
        self._child_created = True
        self._close_pipe_fds(stdin, to_stdin, from_stdout, stdout, from_stderr, stderr)  # type: ignore[attr-defined]

    def _internal_poll(self, *options: Any, **more: Any) -> int | None:
        if self._status is None:
            return super()._internal_poll(*options, **more)  # type: ignore[misc, no-any-return]
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None:
                self._try_wait(os.WNOHANG)
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if self._status is None:
            return super()._try_wait(flags)  # type: ignore[misc, no-any-return]
        ended = select.poll()  # select takes no file descriptors from 1024 on
        ended.register(self._status, select.POLLIN)
        if not ended.poll(0 if flags & os.WNOHANG else None):
            return 0, 0
        status = int(self._status.recv(32))
        self._status.close()
        self._status = None
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.pid, status


def run(words: Any, *, input: str | bytes | None = None, timeout: float | None = None, **options: Any) -> Any:
    """Run a command to its end, as `subprocess.run` does."""
    if options.pop("capture_output", False):
        options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if input is not None:
        options["stdin"] = subprocess.PIPE
    check = options.pop("check", False)
    with Popen(words, **options) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(words, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def can_be_forked(words: list[str], environment: Mapping[str, str]) -> bool:
    """Whether this command in this environment is what the server is a copy of."""
    python = words[:1] == [sys.executable] and words[1:2] in (["-c"], ["-m"])
    if sys.platform != "linux" or not (python or words[:1] == [SCRIPT]):
        return False
    return _at_start(environment) == _server()[1]


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}


@cache
def _server() -> tuple[socket.socket, dict[str, str]]:
    """The way to the server, and what it was started with."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
    environment = dict(os.environ)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=environment,
        )
    server.returncode = 0  # it ends with the tests, when the socket is closed
    atexit.register(ours.close)
    return ours, _at_start(environment)


def _fork(request: Mapping[str, Any], streams: list[int]) -> tuple[int, socket.socket]:
    # Its number and how it ended are two messages, also of one that ends at once.
    status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        fds = array.array("i", [*streams, theirs.fileno()])
        _server()[0].sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    return int(status.recv(32)), status


# -- the server: one process, one thread --------------------------------------------------------------------------


def _import_all() -> None:
    import gc
    import pkgutil

    import fastzero_cli
    import fastzero_core

    for package in (fastzero_core, fastzero_cli):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(NOT_IMPORTED):
                __import__(module.name)
    for name in ("alembic.command", "sqlalchemy.dialects.postgresql.psycopg", "psycopg", "docker", "rich.table"):
        __import__(name)
    gc.collect()
    gc.freeze()


def _serve(requests: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork whatever is asked for; returns in the forked process alone."""
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([requests.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _tell_of_the_dead(running)
        if requests.fileno() not in ready:
            continue
        data, fds, _, _ = socket.recv_fds(requests, LARGEST, 4)
        if not data:
            os._exit(0)
        *streams, status = fds
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            for each in (requests, *running.values()):
                each.close()
            for fd in (ended, wake, status):
                os.close(fd)
            return json.loads(data), streams
        for fd in streams:
            os.close(fd)
        running[pid] = socket.socket(fileno=status)
        running[pid].send(str(pid).encode())


def _tell_of_the_dead(running: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            with running.pop(found[0]) as status, suppress(OSError):
                status.send(str(found[1]).encode())


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Be the process that was asked for."""
    if request["session"]:
        os.setsid()
    else:
        os.setpgid(0, 0)  # whoever ends its group spares the server
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    for fd in streams:
        if fd > 2:
            os.close(fd)
    if request["session"] and os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    _open_streams()
    code = 0
    try:
        _run(*request["words"], folder=request["folder"])
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        code = end.code or 0
    # As multiprocessing leaves: to take all apart would copy the memory that is shared so far.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(program: str, *words: str, folder: str) -> None:
    if program == SCRIPT:
        sys.argv, sys.path[0] = [program, *words], str(Path(program).parent)
        runpy.run_path(program, run_name="__main__")
    elif words[0] == "-m":
        sys.argv, sys.path[0] = list(words[1:]), folder
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = ["-c", *words[2:]], ""
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})


def _open_streams() -> None:
    """Standard streams as Python opens them."""
    stdin, stdout, stderr = sys.stdin, sys.stdout, sys.stderr
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding=stdin.encoding, errors=stdin.errors, closefd=False)  # type: ignore[misc]
    for name, number, old in (("stdout", 1, stdout), ("stderr", 2, stderr)):
        new = os.fdopen(number, "w", encoding=old.encoding, errors=old.errors, closefd=False)
        new.reconfigure(line_buffering=number == 2 or new.isatty(), write_through=unbuffered)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


if __name__ == "__main__":
    way = socket.socket(fileno=int(sys.argv[1]))
    sys.path[0] = ""  # not the tests' folder: packages in it have the names of others
    _import_all()
    _become(*_serve(way))
