"""Installs a release beside the running one, tries it, switches, watches, and goes back by itself.

Shell; agent-proxy-upgrade@FILE.service runs `python -m appliance.upgrade run FILE`, since it writes
programs and units, which the console cannot; agent-proxy-recover.service runs `recover` at the
start of the machine. Neighbours: `release` judges the file, `install` places units, `trial` tries.

    checking    signature, sums, names, version; the node itself is ready
    installing  releases/VERSION with its own venv, from the wheels in the file
    trying      a worker of it on another port, with a copy of the settings: /ready, one exchange
    switching   UNFINISHED says from what to what; units, link, settings; then supervisord and all
                that it keeps, while workers of the new release serve (appliance/renewal.py)
    watching    60 s, in which the node must stay ready
    done | failed (nothing was changed) | rolled back (what was there before is in force again)

A power cut before `switching` leaves files that nobody uses; from then on, until `watching` is
over, the start of the machine goes back to what was there before.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Final

from appliance import facts, install, release, renewal, trial
from appliance.errors import ApplianceError, Refusal
from appliance.places import CONF, Places
from appliance.release import Release
from appliance.system import System
from appliance.verb import Context
from proxy import __version__

__all__ = [
    "KEYS",
    "PREVIOUS",
    "STATE",
    "STOP",
    "SWITCHED",
    "UNFINISHED",
    "recover",
    "roll_back",
    "run",
]

STATE: Final = "/var/lib/agent-proxy/upgrade.json"
UNFINISHED: Final = "/var/lib/agent-proxy/upgrade-unfinished.json"
PREVIOUS: Final = "/var/lib/agent-proxy/upgrade-previous.json"
# Written by whoever waits and wants no more; heeded until the switch, which it comes too late for.
STOP: Final = "/run/agent-proxy/upgrade-stop"
SWITCHED: Final = ("switching", "watching")
KEYS: Final = "/etc/agent-proxy/release-keys"
_RELEASES: Final = f"{install.HOME}/releases"
_PYTHON: Final = "/usr/bin/python3"
_INSTALL_S: Final = 300.0
_WATCH_S: Final = 60.0
_PAUSE_S: Final = 1.0
_UNREADY_LIMIT: Final = 5  # looks in a row

Say = Callable[[str], None]


def run(system: System, file: str, *, conf: str = CONF, watch_s: float = _WATCH_S) -> None:
    """Upgrade to the release in `file`. Raises: Refusal; then the old release is in force."""
    told = _Told(system, file)
    found: Release | None = None
    try:
        found = _judged(system, file, conf, told)
        _heed_stop(system)
        told.step("installing", f"beside {__version__}")
        _install(system, found)
        told.step("trying", "a worker of it on another port")
        text, notes = _migrated(system, found.version, conf)
        trial.run(system, f"{_RELEASES}/{found.version}", conf, text)
        _heed_stop(system)
    except (ApplianceError, OSError) as error:
        if found is not None:  # what nobody will use; what it cannot remove the next one does
            system.run(("rm", "-rf", f"{_RELEASES}/{found.version}"), timeout_s=_INSTALL_S)
        told.end("failed", f"{error} (nothing was changed)")
        raise Refusal(str(error)) from error
    try:
        told.step("switching", "; ".join(notes))
        _switch(system, found.version, conf, text)
        told.step("watching", f"for {watch_s:.0f} s")
        _watch(system, conf, watch_s)
    except (ApplianceError, OSError) as error:
        back = roll_back(system, conf)
        told.end("rolled back", f"{error}. {back} is in force again")
        raise Refusal(f"{error}. {back} is in force again") from error
    system.write(PREVIOUS, system.read(UNFINISHED) or b"")
    system.remove(UNFINISHED)
    _tidy(system, {found.version, __version__})
    told.end("done", f"{found.version} is in force; {__version__} is kept for `upgrade rollback`")


def roll_back(system: System, conf: str = CONF, *, boot: bool = False) -> str:
    """Go back to what was there before the last switch; return that version.

    `boot`: nothing runs yet, files and links are enough. Raises: Refusal.
    """
    version, state = _before(system)
    _place(system, version)
    kept = system.read(f"{conf}.{version}")
    if kept is not None and kept != system.read(conf):
        system.write(conf, kept, mode=0o640, owner="root:agent-proxy")
    if not boot:
        renewal.renew(Context(system, conf), insist=True)
    system.remove(state)
    return version


def recover(system: System) -> None:
    """At the start of the machine: take back a switch that was not watched to its end."""
    if system.entry(UNFINISHED) is not None:
        version = roll_back(system, boot=True)
        _Told(system, "").end(
            "rolled back", f"the machine was restarted. {version} is in force again"
        )


def _judged(system: System, file: str, conf: str, told: _Told) -> Release:
    told.step("checking", file)
    if system.entry(UNFINISHED) is not None:
        raise Refusal("another upgrade is not finished: `upgrade rollback` takes it back")
    keys = [
        system.read(f"{KEYS}/{name}") or b"" for name in system.list(KEYS) if name.endswith(".pub")
    ]
    entry = system.entry(file)
    if entry is None or entry.kind != "file":
        raise Refusal(f"{file} is no file")
    if entry.size > release.LIMIT_BYTES:
        raise Refusal(f"{file} is larger than {release.LIMIT_BYTES >> 20} MiB")
    # System.read stops at 64 MiB; a release may be larger.
    found = release.judge(system.path(file).read_bytes(), keys)
    if not release.newer(found.version, __version__):
        raise Refusal(
            f"{found.version} is not above {__version__}, which is installed. "
            "To go back to the version before use `upgrade rollback`"
        )
    settings, problems = facts.configured(system, conf)
    if settings is None:
        raise Refusal(f"proxy.ini has problems: {problems[0]}")
    if not _is_ready(system, conf):
        raise Refusal(
            "the node is not ready now, so that nobody could tell whether the new release works. "
            "See `status`; upgrade when it is ready"
        )
    return found


def _heed_stop(system: System) -> None:
    """Raises: Refusal once whoever waits wants no more."""
    if system.entry(STOP) is not None:
        system.remove(STOP)
        raise Refusal("it was stopped by whoever waited")


def _install(system: System, found: Release) -> None:
    """Make the release's folder and venv. One that is not in use is made anew. Raises: Refusal."""
    folder = f"{_RELEASES}/{found.version}"
    _do(system, "rm", "-rf", folder)
    for name, content in found.files.items():
        mode = 0o755 if "/libexec/" in name else 0o644
        system.write(f"{folder}/{name}", content, mode=mode)
    for name, target in found.links.items():
        system.link(f"{folder}/{name}", target)
    python, wheels = f"{folder}/venv/bin/python", f"{folder}/wheels"
    _do(system, _PYTHON, "-m", "venv", f"{folder}/venv")
    _heed_stop(system)
    pip = (python, "-m", "pip", "-q", "--disable-pip-version-check", "--no-cache-dir")
    offline = ("install", "--no-index", "--find-links", wheels)
    _do(system, *pip, *offline, "--require-hashes", "-r", f"{folder}/requirements.txt")
    _heed_stop(system)
    own = [name for name in system.list(wheels) if name.startswith("agent_proxy-")]
    if own != [f"agent_proxy-{found.version}-py3-none-any.whl"]:
        raise Refusal(f"the release has no wheel of {found.version}")
    _do(system, *pip, *offline, "--no-deps", f"{wheels}/{own[0]}")
    said = system.ask((f"{folder}/venv/bin/agent-proxy-appliance", "--version"))
    if found.version not in said.out:
        raise Refusal(f"the release does not start: {said.said}")
    # The unit lets nobody read what it makes; the proxy runs as a user of its own.
    _do(system, "chmod", "-R", "go-w,a+rX", folder)
    system.write(f"{folder}/digest", b"released\n")


def _migrated(system: System, version: str, conf: str) -> tuple[str, list[str]]:
    """Return proxy.ini as the new release reads it, and what it changed in it. Raises: Refusal."""
    python = f"{_RELEASES}/{version}/venv/bin/python"
    done = system.run((python, "-m", "appliance.migrations"), input=system.read(conf) or b"")
    if done.code:
        raise Refusal(f"proxy.ini could not be migrated: {done.said}")
    return done.out, done.err.splitlines()


def _switch(system: System, version: str, conf: str, text: str) -> None:
    """Let everything come from the new release. Raises: Refusal."""
    old = system.read(conf) or b""
    system.write(f"{conf}.{__version__}", old, mode=0o640, owner="root:agent-proxy")
    document = {"from": __version__, "to": version}
    system.write(UNFINISHED, json.dumps(document).encode())
    _place(system, version)
    if text.encode() != old:
        system.write(conf, text.encode(), mode=0o640, owner="root:agent-proxy")
    renewal.renew(Context(system, conf))


def _watch(system: System, conf: str, watch_s: float) -> None:
    """Raises: Refusal as soon as the node is not ready for 5 looks in a row."""
    end, unready = system.uptime() + watch_s, 0
    while system.uptime() < end:
        unready = 0 if _is_ready(system, conf) else unready + 1
        if unready >= _UNREADY_LIMIT:
            raise Refusal("the node did not stay ready")
        system.pause(_PAUSE_S)


def _is_ready(system: System, conf: str) -> bool:
    """Whether every worker that supervisord keeps runs, and the node takes traffic."""
    settings, _ = facts.configured(system, conf)
    if settings is None:
        return False
    page = system.fetch(settings.admin.address, settings.admin.port, "/ready")
    workers = facts.workers(system, Places(conf))
    running = bool(workers) and all(one.is_running for one in workers)
    return running and page is not None and page.status == 200


def _tidy(system: System, kept: set[str]) -> None:
    """Remove releases that nobody uses any more."""
    for name in system.list(_RELEASES):
        if name not in kept:
            _do(system, "rm", "-rf", f"{_RELEASES}/{name}")


def _before(system: System) -> tuple[str, str]:
    """Return the version before the last switch, and the file that says so. Raises: Refusal."""
    for state in (UNFINISHED, PREVIOUS):
        content = system.read(state)
        if content is not None:
            found: dict[str, str] = json.loads(content)
            return found["from"], state
    raise Refusal("there is no upgrade to take back")


def _place(system: System, version: str) -> None:
    """Let a release place its own units, and be the current one: only it knows how."""
    _do(system, f"{_RELEASES}/{version}/venv/bin/python", "-m", "appliance.install", version)


def _do(system: System, *argv: str) -> None:
    done = system.run(argv, timeout_s=_INSTALL_S)
    if done.code:
        raise Refusal(f"{' '.join(argv)} failed with {done.code}: {done.said}")


class _Told:
    """Writes how far it has come into STATE, for `upgrade status` and the console."""

    def __init__(self, system: System, file: str) -> None:
        self._system = system
        self._document = {"file": file, "from": __version__, "state": "", "steps": []}

    def step(self, state: str, detail: str) -> None:
        self._write(state, detail)

    def end(self, state: str, detail: str) -> None:
        self._write(state, detail)

    def _write(self, state: str, detail: str) -> None:
        steps = self._document["steps"]
        assert isinstance(steps, list)
        steps.append(f"{state}: {detail}" if detail else state)
        self._document["state"] = state
        self._system.write(STATE, json.dumps(self._document, indent=2).encode())
        sys.stdout.write(f"{steps[-1]}\n")
        sys.stdout.flush()


def main(argv: list[str]) -> int:
    # The link /opt/agent-proxy/venv will lead to another release: import nothing through it.
    real = os.path.realpath(sys.prefix)
    if real != sys.prefix:
        os.execv(f"{real}/bin/python", [f"{real}/bin/python", "-m", "appliance.upgrade", *argv])
    system = System()
    try:
        if argv[:1] == ["recover"]:
            recover(system)
        elif argv[:1] == ["rollback"]:
            roll_back(system)
        else:
            run(system, argv[1], watch_s=float(argv[2]) if len(argv) > 2 else _WATCH_S)
    except Refusal as refusal:
        sys.stderr.write(f"upgrade: {refusal}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
