"""The first boot: numbered steps, each safe to repeat, before the proxy's listener opens.

Shell. Neighbours: `answer_sources` finds answers, `answers` judges them, `commit` puts all that
follows in force as one change; `first_boot_verbs` and agent-proxy-first-boot.service call.

    1 identity   machine-id and SSH host keys of this machine, made here
    2 disk       grown by agent-proxy-grow.service
    3 answers    found, and judged completely
    4 settings   one change: network, time, access, password, proxy.ini, secret, key, certificate
    5 complete   the proxy is started

Where answers are missing or wrong nothing of step 4 is done: the machine waits, keeps asking DHCP,
and its console says what is wrong. /var/lib/agent-proxy/first-boot.json has the state of each step;
first-boot.complete exists once all is done, and agent-proxy.service starts only then.

No identity is ever in an image: nothing here is written before the machine runs.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from appliance import (
    access,
    answer_sources,
    answers,
    commit,
    facts,
    firewall,
    model,
    network,
    passwords,
    proxy_setup,
    readings,
    syslog,
    timekeeping,
    updates,
)
from appliance.answers import Answers, Surroundings
from appliance.answers_file import Values
from appliance.errors import Problem, Problems, Refusal
from appliance.model import Appliance
from appliance.places import SERVICE_OWNER, Places
from appliance.plan import Plan, Write, joined
from appliance.system import System
from proxy import certificates, chain

__all__ = ["COMPLETE", "STATE", "State", "Step", "run", "state"]

STATE: Final = "/var/lib/agent-proxy/first-boot.json"
COMPLETE: Final = "/var/lib/agent-proxy/first-boot.complete"
# DHCP on everything, so that answers can be fetched; gone once the network is what it shall be.
BEFORE: Final = "/etc/systemd/network/95-agent-proxy-first-boot.network"
# Names the machine that the SSH host keys were made for.
_HOST_KEYS: Final = "/var/lib/agent-proxy/host-keys"
# What every SSH of the last ten years knows. No RSA: its primes are looked for as long as chance
# will have it, half a minute at times on an emulated processor, while agents wait.
_HOST_KEY_KINDS: Final = ("ed25519", "ecdsa")
_STEPS: Final = ("identity", "disk", "answers", "settings", "complete")
_CERTIFICATE_DAYS: Final = 396

StepState = Literal["to do", "done", "waits", "failed"]


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    name: str
    state: StepState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """How far it has come. `problems` is what is wrong with the answers, for the screen."""

    steps: tuple[Step, ...]
    source: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def is_complete(self) -> bool:
        return all(step.state == "done" for step in self.steps)


def state(system: System) -> State:
    """Return what the last run wrote down; everything is to do where there was none."""
    try:
        document = json.loads(system.read(STATE) or b"{}")
        steps = tuple(Step(**one) for one in document["steps"])
        problems = tuple(Problem(*one) for one in document["problems"])
        found = State(steps, document["source"], problems)
    except (ValueError, KeyError, TypeError):
        found = State(tuple(Step(n, name, "to do") for n, name in enumerate(_STEPS, 1)))
    if system.entry(COMPLETE) is not None and not found.is_complete:
        # The power failed between the two files: what counts is the one that the proxy waits for.
        return State(tuple(Step(n, name, "done") for n, name in enumerate(_STEPS, 1)))
    return found


def run(
    system: System,
    conf: str,
    *,
    given: Values | None = None,
    get: answer_sources.Get = answer_sources.get,
    password: answer_sources.Password = answer_sources.password,
    progress: Callable[[str], None] = lambda line: None,
) -> State:
    """Do what is not done yet and return how far it came. `given` are answers typed at the console.

    Raises: Refusal if a step could not be done though the answers were right, Problems for answers
    that were `given`.
    """
    if system.entry(COMPLETE) is not None:
        return state(system)
    done = [_identity(system, progress), _disk(system, progress)]
    try:
        found = _found(system, given, get, password)
        progress(f"3 answers: {found.source or 'none found'}")
        judged = _judged(system, conf, found)
    except Problems as problems:
        if given is not None:
            raise
        detail = f"{len(problems.problems)} things are wrong or missing"
        return _kept(system, [*done, Step(3, "answers", "waits", detail)], "", problems.problems)
    done.append(Step(3, "answers", "done", found.source))
    progress("4 settings: putting them in force")
    done.append(_settings(system, conf, judged))
    if found.password_from:
        password(found.password_from, "saved_password")
    system.write(COMPLETE, b"")
    done.append(Step(5, "complete", "done"))
    _do(system, "systemctl", "start", "--no-block", "agent-proxy.service")
    return _kept(system, done, found.source, ())


def _identity(system: System, progress: Callable[[str], None]) -> Step:
    progress("1 identity: machine-id and SSH host keys")
    machine = (system.read("/etc/machine-id") or b"").decode().strip()
    if len(machine) != 32:  # systemd makes it at the start; an image has none
        raise Refusal("/etc/machine-id is not there: restart the machine, systemd makes it")
    if (system.read(_HOST_KEYS) or b"").decode() != machine:
        # Those that are there may be of the package's installation, in an image that others have.
        for name in system.list("/etc/ssh"):
            if name.startswith("ssh_host_"):
                system.remove(f"/etc/ssh/{name}")
        for kind in _HOST_KEY_KINDS:
            path = f"/etc/ssh/ssh_host_{kind}_key"
            _do(system, "ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path)
        system.write(_HOST_KEYS, machine.encode())
    return Step(1, "identity", "done", f"machine {machine}")


def _disk(system: System, progress: Callable[[str], None]) -> Step:
    progress("2 disk: growing it, where there is room")
    done = system.run(("systemctl", "start", "agent-proxy-grow.service"), timeout_s=180.0)
    # A smaller disk than there could be is no reason not to serve.
    return Step(2, "disk", "done", "" if done.code == 0 else f"not grown: {done.said}")


def _found(
    system: System,
    given: Values | None,
    get: answer_sources.Get,
    password: answer_sources.Password,
) -> answer_sources.Found:
    if given is not None:
        return answer_sources.Found(given, "console")
    return answer_sources.find(system, get, password)


def _judged(system: System, conf: str, found: answer_sources.Found) -> Answers:
    values = dict(found.values)
    if not values:
        remedy = "Answer at the console, or give user data, OVF properties or a seed volume."
        raise Problems([Problem("answers", "", "none were found", remedy)])
    if found.hostname:
        values.setdefault("hostname", found.hostname)
    # A program more is started only for who wants to know.
    asked = "time.timezone" in values
    zones = system.ask(("timedatectl", "list-timezones")).out.split() if asked else []
    around = Surroundings(
        cards=readings.interfaces(system.ask(("ip", "-j", "-d", "addr")).out),
        timezones=frozenset([*zones, "Etc/UTC"]),
        hostname=(system.read("/proc/sys/kernel/hostname") or b"").decode().strip(),
        conf=conf,
        text=(system.read(conf) or b"").decode(),
        read=facts.secret_reader(system),
        has_password=passwords.is_set(system.read(passwords.PATH)),
    )
    return answers.judge(values, around, _made)


def _made(what: str) -> str:
    """Return a new proxy ID, as the platform knows them, or a new secret of 256 bits."""
    return secrets.token_hex(6).upper() if what == "id" else secrets.token_hex(32)


def _settings(system: System, conf: str, judged: Answers) -> Step:
    """Put everything in force as one change, which a power cut leaves whole or undone."""
    plan = _plan(system, conf, judged)
    applied = commit.apply(system, plan, confirm_s=0.0)
    if applied.rolled_back:
        raise Refusal(f"the settings could not be put in force: {applied.rolled_back}")
    return Step(4, "settings", "done", f"proxy ID {judged.settings.proxy.id}")


def _plan(system: System, conf: str, judged: Answers) -> Plan:
    wanted, now = judged.appliance, Appliance()
    places = Places(conf)
    hostname = (system.read("/proc/sys/kernel/hostname") or b"").decode().strip()
    own = [
        Write(model.PATH, model.to_json(wanted)),
        Write(f"{places.var}/secret", judged.secret.encode(), 0o600, SERVICE_OWNER, secret=True),
        *_certificate(system, judged, hostname),
    ]
    if judged.password:
        content = passwords.content(judged.password)
        own.append(Write(passwords.PATH, content, 0o600, secret=True))
    # What the installation has put in place already costs a start of the machine nothing.
    topics = []
    if wanted.syslog != now.syslog:
        topics.append(syslog.plan(now.syslog, wanted.syslog, places))
    if wanted.updates != now.updates:
        topics.append(updates.plan(wanted.updates))
    return joined(
        "first boot",
        Plan("own", tuple(own), (BEFORE,) if wanted.network.interfaces else ()),
        network.plan(now.network, wanted.network, hostname),
        timekeeping.plan(now.time, wanted.time, ""),
        access.plan(now.access, wanted.access),
        *topics,
        firewall.plan(judged.settings, wanted),
        proxy_setup.plan("proxy.ini", places, judged.text, None, judged.settings, ()),
    )


def _certificate(system: System, judged: Answers, hostname: str) -> tuple[Write, ...]:
    """Return a key and a certificate made here, unless there are some already."""
    listen = judged.settings.listen
    if system.read(listen.key) is not None and system.read(listen.certificate) is not None:
        return ()
    names = list(judged.certificate_names)
    if not names:
        name = judged.appliance.network.hostname or hostname or "agent-proxy"
        static = [one for card in judged.appliance.network.interfaces for one in card.addresses]
        cards = readings.interfaces(system.ask(("ip", "-j", "-d", "addr")).out)
        there = static or [one for card in cards for one in card.addresses]
        names = [name, *dict.fromkeys(one.partition("/")[0] for one in there)]
    try:
        pem, key = certificates.self_signed(names, _CERTIFICATE_DAYS)
    except ValueError as error:
        remedy = "Give host names and addresses."
        place = "certificate.names"
        raise Problems([Problem(place, ", ".join(names), str(error), remedy)]) from error
    return (
        Write(listen.key, chain.key_block(key), 0o600, SERVICE_OWNER, secret=True),
        Write(listen.certificate, pem, 0o644, SERVICE_OWNER),
    )


def _kept(system: System, done: list[Step], source: str, problems: tuple[Problem, ...]) -> State:
    rest = [Step(n, name, "to do") for n, name in enumerate(_STEPS, 1) if n > len(done)]
    found = State((*done, *rest), source, problems)
    # Any: JSON.
    document: dict[str, Any] = {
        "version": 1,
        "steps": [asdict(step) for step in found.steps],
        "source": source,
        "problems": [list(one) for one in problems],
    }
    system.write(STATE, json.dumps(document, indent=2).encode(), mode=0o600)
    return found


def _do(system: System, *argv: str) -> None:
    done = system.run(argv)
    if done.code:
        raise Refusal(f"{' '.join(argv)} failed with {done.code}: {done.said}")
