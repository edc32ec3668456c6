"""supervisord as a child: started in the foreground, asked over its UNIX socket, ended for good."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from supervisor.xmlrpc import SupervisorTransport

LONGEST_SOCKET_PATH = 107  # bytes, sun_path of Linux; supervisord adds its pid while binding
STOP_TIMEOUT_S = 75.0  # stopwaitsecs of the workers (45) and of the stand-ins (15), and some
_PR_SET_PDEATHSIG = 1


class NotStarted(Exception):
    """supervisord could not be started; says why and what to do."""


class Process(NamedTuple):
    """One supervised program; `state` is RUNNING, STARTING, BACKOFF, FATAL …"""

    name: str
    state: str
    pid: int
    note: str


class Supervision:
    """Owns supervisord: start(), processes(), end()."""

    def __init__(self, root: Path, var: Path, conf: Path, include: str, *, workers: int, fds: int):
        self.var = var
        self.socket = var / "run" / "supervisor.sock"
        self._command = [str(Path(sys.executable).parent / "supervisord"), "-n"]
        self._command += ["-c", str(root / "conf" / "supervisord.conf")]
        self._root = root
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "AGENT_PROXY_CONF": str(conf),
            "AGENT_PROXY_VAR": str(var),
            "AGENT_PROXY_WORKERS": str(workers),
            "AGENT_PROXY_MINFDS": str(fds),
            "AGENT_PROXY_INCLUDE": include,
        }
        self._child: subprocess.Popen[bytes] | None = None
        self._pids: set[int] = set()

    def start(self, extra_environment: dict[str, str]) -> None:
        """Raises: NotStarted."""
        if len(str(self.socket)) + 8 > LONGEST_SOCKET_PATH:
            raise NotStarted(
                f"path too long for a UNIX socket: {self.socket}; choose another --var"
            )
        if _somebody_listens(self.socket):
            raise NotStarted(f"already running: {self.socket} answers; end that one first")
        console = self.var / "log" / "supervisord.out"
        with console.open("wb") as output:
            self._child = subprocess.Popen(
                self._command,
                cwd=self._root,
                env=self._environment | extra_environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we end it in order
                umask=0o077,  # of the logs; conf/supervisord.conf says why not there
                preexec_fn=_end_with_parent,
            )
        deadline = time.monotonic() + 15
        while not _somebody_listens(self.socket):
            if self._child.poll() is not None:
                said = console.read_text(errors="replace").strip()
                raise NotStarted(f"supervisord: {said or self._child.returncode}")
            if time.monotonic() > deadline:
                raise NotStarted(f"supervisord does not answer on {self.socket}")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The process of supervisord itself."""
        assert self._child is not None, "not started"
        return self._child.pid

    def processes(self) -> list[Process]:
        """Raises: OSError when supervisord is gone."""
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            answer = server.supervisor.getAllProcessInfo()
        finally:
            transport.close()
        assert isinstance(answer, list)
        processes = [
            Process(p["name"], p["statename"], p["pid"], p["spawnerr"] or p["description"])
            for p in answer
        ]
        self._pids.update(p.pid for p in processes if p.pid)
        return processes

    def failed(self) -> list[Process]:
        """The programs that supervisord has given up."""
        return [process for process in self.processes() if process.state == "FATAL"]

    def is_alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def end(self, say: Callable[[str], None]) -> bool:
        """End supervisord and everything it started; True when all ended by themselves."""
        child = self._child
        if child is None:
            return True
        with contextlib.suppress(OSError, xmlrpc.client.Error):
            self.processes()  # whose pids we must see go
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOP_TIMEOUT_S)
        left = [pid for pid in self._pids if _is_child_of_ours(pid, self.var)]
        if child.poll() is None:
            child.kill()
            child.wait()
            say("supervisord did not end in time and was killed")
        for pid in left:
            say(f"process {pid} did not end in time and is killed")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._child = None
        return not left

    def last_lines(self, name: str, count: int = 12) -> list[str]:
        """The end of log/NAME."""
        try:
            text = (self.var / "log" / name).read_text(errors="replace")
        except OSError:
            return []
        return text.splitlines()[-count:]


def _end_with_parent() -> None:
    """In the child: TERM when the demonstration dies, even by KILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
        return True


def _is_child_of_ours(pid: int, var: Path) -> bool:
    """Whether that pid still runs with our AGENT_PROXY_VAR: pids are reused."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"AGENT_PROXY_VAR={var}".encode() in environment.split(b"\0")
