"""Tries a release that is not in use: one worker of it on another port, with the same settings.

Shell. Neighbours: `upgrade` asks, `self_test` has the exchange; agent-proxy-trial.service runs the
worker, as the proxy's own user and in the same sandbox. Everything it has lies in
/run/agent-proxy-trial and goes away with it.
"""

from __future__ import annotations

import socket
from typing import Final

from appliance import facts, ini_edit, self_test
from appliance.errors import Refusal
from appliance.ini_edit import Change
from appliance.places import SERVICE_OWNER, Places
from appliance.system import System

__all__ = ["run"]

_HOME: Final = "/run/agent-proxy-trial"
_UNIT: Final = "agent-proxy-trial.service"
_READY_S: Final = 120.0
_PAUSE_S: Final = 0.5
_DEPTH_LIMIT: Final = 3


def run(system: System, release: str, conf: str, text: str) -> None:
    """Raises: Refusal, OSError when it does not start, is not ready or does not answer."""
    _copy(system, release, conf, text)
    try:
        done = system.run(("systemctl", "start", _UNIT))
        if done.code:
            raise Refusal(f"the new release does not start: {done.said}")
        _await(system)
    finally:
        system.run(("systemctl", "stop", _UNIT))
        system.run(("rm", "-rf", _HOME))


def _copy(system: System, release: str, conf: str, text: str) -> None:
    system.run(("rm", "-rf", _HOME))
    system.folder(_HOME, mode=0o700, owner=SERVICE_OWNER)
    system.link(f"{_HOME}/release", release)
    places = Places(conf)
    for folder in ("conf", "var"):
        system.folder(f"{_HOME}/{folder}", mode=0o700, owner=SERVICE_OWNER)
    for folder in ("var/run", "var/log", "var/tls"):
        system.folder(f"{_HOME}/{folder}", mode=0o700, owner=SERVICE_OWNER)
    for path in (*_files(system, places.var), *_files(system, f"{places.base}/conf")):
        content = system.read(path)
        if content is not None:
            target = f"{_HOME}{path.removeprefix(places.base)}"
            system.write(target, content, mode=0o600, owner=SERVICE_OWNER)
    port, admin = _free_ports()
    changes = [Change(("listen",), "port", str(port)), Change(("admin",), "port", str(admin))]
    content = ini_edit.changed(text, changes).encode()
    system.write(f"{_HOME}/conf/proxy.ini", content, mode=0o600, owner=SERVICE_OWNER)


def _files(system: System, top: str, depth: int = 0) -> list[str]:
    """Return the files of settings below a folder: no logs, no sockets."""
    found = []
    for name in system.list(top):
        path = f"{top}/{name}"
        entry = system.entry(path)
        if entry is None or path.endswith(("/log", "/run")):
            continue
        if entry.kind == "file":
            found.append(path)
        elif entry.kind == "folder" and depth < _DEPTH_LIMIT:
            found += _files(system, path, depth + 1)
    return found


def _free_ports() -> tuple[int, int]:
    """Return two ports that nobody has now."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        return one.getsockname()[1], two.getsockname()[1]


def _await(system: System) -> None:
    settings, problems = facts.configured(system, f"{_HOME}/conf/proxy.ini")
    if settings is None:
        raise Refusal(f"the settings cannot be used: {problems[0]}")
    end = system.uptime() + _READY_S
    outcome = self_test.ready(system, settings)
    while outcome.verdict != "PASS" and system.uptime() < end:
        if system.ask(("systemctl", "is-active", _UNIT)).out.strip() != "active":
            break
        system.pause(_PAUSE_S)
        outcome = self_test.ready(system, settings)
    if outcome.verdict == "PASS":
        outcome = self_test.exchange(system, settings)
    if outcome.verdict == "FAIL":
        raise Refusal(f"the new release failed its trial: {outcome.name}: {outcome.detail}")
