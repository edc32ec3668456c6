"""The verbs of backups of the settings, encrypted under a passphrase.

Shell. Neighbours: `backup` says what is inside, `sealed` encrypts.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Final

from appliance import backup, facts, fields, keeping, sealed
from appliance.commit_verbs import carry_out
from appliance.errors import Problem, Problems, Refusal
from appliance.model import Network
from appliance.places import STATE, Places
from appliance.plan import Plan, Write, joined
from appliance.self_test import SelfTest
from appliance.verb import Argument, Context, Result, Values, Verb
from proxy import __version__

__all__ = ["VERBS"]

_FOLDER: Final = f"{STATE}/backups"
_SUFFIX: Final = ".backup"
_CONFIRM_S: Final = 120.0


def _passphrase(values: Values) -> str:
    passphrase = str(values.get("passphrase") or "")
    if len(passphrase) < sealed.PASSPHRASE_MIN:
        message = f"it has less than {sealed.PASSPHRASE_MIN} characters"
        remedy = "Take several words: whoever has file and passphrase has the proxy's secret."
        raise Problems([Problem("passphrase", "", message, remedy)])
    return passphrase


def _judged(passphrase: str) -> None:
    """Raises: ValueError."""
    if len(passphrase) < sealed.PASSPHRASE_MIN:
        raise ValueError(f"has less than {sealed.PASSPHRASE_MIN} characters")


def _create(context: Context, values: Values) -> Result:
    passphrase = _passphrase(values)
    found = facts.gather(context.system, context.conf)
    if found.settings is None:
        raise Problems(Problem("proxy.ini", "", text, "Mend it first.") for text in found.problems)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(context.now()))
    path = str(values.get("file") or f"{_FOLDER}/{found.hostname or 'node'}-{stamp}{_SUFFIX}")
    context.progress("encrypting")
    content = backup.collect(
        Places(context.conf), found.settings, keeping.load(context), context.system.read
    )
    about = {"node": found.hostname, "version": __version__, "time": f"{stamp} UTC"}
    write = Write(path, sealed.seal(content, passphrase, about), 0o600, secret=True)
    lines = (f"{path} holds the settings, secrets included. Without the passphrase it is lost.",)
    data: dict[str, object] = {"file": path, **about}
    return carry_out(context, Plan("backup", (write,)), lines=lines, data=data)


def _restore(context: Context, values: Values) -> Result:
    content = _content(context, str(values["file"]))
    context.progress("decrypting")
    try:
        held = backup.read(sealed.unseal(content, _passphrase(values)))
    except sealed.Unreadable as error:
        remedy = "Type the passphrase of the day it was made, or take another file."
        raise Problems([Problem("passphrase", "", str(error), remedy)]) from error
    system, places = context.system, Places(context.conf)
    now, found = keeping.load(context), facts.gather(system, context.conf)
    if values.get("keep_network"):
        held = held._replace(appliance=dataclasses.replace(held.appliance, network=now.network))
    elif held.appliance.network == Network():
        held = held._replace(appliance=dataclasses.replace(held.appliance, network=now.network))
    after = backup.judge(held, places, found.interfaces, found.hostname)
    running = facts.affected(system, places)
    plan = joined(
        "restored backup",
        keeping.firewall_of(context, after, held.appliance),
        backup.plan(
            held, places, now, found.hostname, found.timezone, found.settings, after, running
        ),
    )
    test = SelfTest(system, context.conf, context.stop) if found.settings is not None else None
    return carry_out(context, plan, confirm_s=_CONFIRM_S, self_test=test)


def _content(context: Context, file: str) -> bytes:
    """Return a backup by its name or path. Raises: Problems."""
    path = file if "/" in file else f"{_FOLDER}/{file}"
    content = context.system.read(path)
    if content is None:
        remedy = f"See `backup list`, or give a path. Backups lie in {_FOLDER}."
        raise Problems([Problem("FILE", file, "there is no such file", remedy)])
    return content


def _list(context: Context, values: Values) -> Result:
    found: list[dict[str, Any]] = []  # Any: the head of a file
    for name in context.system.list(_FOLDER):
        content = context.system.read(f"{_FOLDER}/{name}")
        head: dict[str, Any]
        try:
            head = sealed.head_of(content or b"")
        except sealed.Unreadable as error:
            head = {"problem": str(error)}
        shown = ("node", "version", "time", "problem")
        kept = {key: value for key, value in head.items() if key in shown}
        found.append({"file": name, "bytes": len(content or b""), **kept})
    lines = tuple(
        f"{one['file']}  {one.get('problem') or one['time'] + ', version ' + one['version']}"
        for one in found
    )
    return Result(lines or (f"There is none in {_FOLDER}.",), found)


def _remove(context: Context, values: Values) -> Result:
    name = str(values["file"])
    if "/" in name or name not in context.system.list(_FOLDER):
        remedy = "See `backup list`."
        raise Problems([Problem("FILE", name, "there is no such backup", remedy)])
    try:
        context.system.remove(f"{_FOLDER}/{name}")
    except OSError as error:
        raise Refusal(f"{name} cannot be removed: {error.strerror}") from error
    return Result((f"{name} is removed.",), {"file": name})


_PASSPHRASE: Final = Argument(
    "passphrase",
    "secret",
    "its passphrase",
    "12 characters or more",
    required=True,
    check=_judged,
)
VERBS: Final = (
    Verb(
        "backup create",
        "save all settings, secrets and certificates, encrypted",
        _create,
        (
            Argument(
                "file",
                "file",
                "where to",
                "",
                f"{_FOLDER}/NODE-TIME.backup",
                positional=True,
                check=fields.path,
            ),
            _PASSPHRASE,
        ),
        (
            "agent-proxy-appliance backup create",
            "agent-proxy-appliance backup create /media/node-1.backup --passphrase-file p.txt",
        ),
        "Not in it: the console's password, the machine's identity, logs.",
        changes=True,
    ),
    Verb(
        "backup restore",
        "put the settings of a backup in force",
        _restore,
        (
            Argument(
                "file", "file", "its name in the list, or a path", required=True, positional=True
            ),
            _PASSPHRASE,
            Argument("keep_network", "flag", "keep this machine's network settings"),
        ),
        ("agent-proxy-appliance backup restore /media/node-1.backup --keep-network --yes",),
        "It is taken back after 120 s unless confirmed.",
        changes=True,
        confirm=True,
        dangerous=True,
    ),
    Verb(
        "backup list",
        "list the backups on this machine",
        _list,
        examples=("agent-proxy-appliance backup list --json",),
    ),
    Verb(
        "backup remove",
        "remove a backup from this machine",
        _remove,
        (Argument("file", "text", "its name in the list", required=True, positional=True),),
        ("agent-proxy-appliance backup remove node-1-20261124-030000.backup --yes",),
        changes=True,
        dangerous=True,
    ),
)
