"""The verbs of access: SSH, off by default and by keys only, and the console's password.

Shell. Neighbours: `access` and `passwords` judge, `keeping` and `commit_verbs` apply.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from typing import Final

from appliance import access, fields, keeping, passwords
from appliance.commit_verbs import carry_out
from appliance.errors import Problem, Problems
from appliance.model import Access
from appliance.plan import Plan, Write
from appliance.verb import Argument, Context, Result, Values, Verb

__all__ = ["VERBS"]


def _change(context: Context, wanted: Access, title: str) -> Result:
    """Raises: Problems, Refusal."""
    problems = access.validate(wanted)
    if problems:
        raise Problems(problems)
    now = keeping.load(context)
    plan = dataclasses.replace(access.plan(now.access, wanted), title=title)
    return keeping.keep(context, dataclasses.replace(now, access=wanted), plan)


def _fingerprint(line: str) -> str:
    digest = hashlib.sha256(access.fingerprint_of(line)[2]).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _show(context: Context, values: Values) -> Result:
    now = keeping.load(context).access
    keys = []
    for line in now.keys:
        kind, comment, _ = access.fingerprint_of(line)
        keys.append({"kind": kind, "comment": comment, "fingerprint": _fingerprint(line)})
    lines = [f"SSH is {'on' if now.ssh else 'off'}, for the user operator, by keys only"]
    lines.append(f"from {', '.join(now.networks) or 'everywhere'}")
    lines += [f"{one['kind']:<20} {one['fingerprint']} {one['comment']}" for one in keys]
    lines += [] if keys else ["no key: nobody could log in"]
    data = {"ssh": now.ssh, "networks": list(now.networks), "keys": keys}
    return Result(tuple(lines), data)


def _on(context: Context, values: Values) -> Result:
    now = keeping.load(context).access
    networks = values.get("from")
    kept = now.networks if networks is None else tuple(networks)
    return _change(context, dataclasses.replace(now, ssh=True, networks=kept), "ssh: on")


def _off(context: Context, values: Values) -> Result:
    now = keeping.load(context).access
    return _change(context, dataclasses.replace(now, ssh=False), "ssh: off")


def _add(context: Context, values: Values) -> Result:
    now = keeping.load(context).access
    text = str(values["key"]).strip()
    if len(text.splitlines()) != 1:
        message, remedy = "is not one line", "Give one key at a time, as in its .pub file."
        raise Problems([Problem("key", "", message, remedy)])
    wanted = dataclasses.replace(now, keys=(*now.keys, " ".join(text.split())))
    return _change(context, wanted, "ssh: key added")


def _remove(context: Context, values: Values) -> Result:
    now = keeping.load(context).access
    wanted = str(values["key"])
    kept = tuple(line for line in now.keys if not _is_meant(line, wanted))
    if len(kept) == len(now.keys):
        message, remedy = "no key has this name or fingerprint", "See `ssh show`."
        raise Problems([Problem("KEY", wanted, message, remedy)])
    return _change(context, dataclasses.replace(now, keys=kept), "ssh: key removed")


def _is_meant(line: str, wanted: str) -> bool:
    return wanted in (access.fingerprint_of(line)[1], _fingerprint(line))


def _password(context: Context, values: Values) -> Result:
    password = str(values.get("password") or "")
    problems = passwords.problems(password, "password")
    if problems:
        raise Problems(problems)
    write = Write(passwords.PATH, passwords.content(password), 0o600, secret=True)
    return carry_out(context, Plan("console password", (write,)))


VERBS: Final = (
    Verb(
        "password set",
        "set the console's password",
        _password,
        (
            Argument(
                "password",
                "secret",
                "the new password",
                "12 to 256 characters",
                required=True,
                check=passwords.judged,
            ),
        ),
        (
            "agent-proxy-appliance password set",
            "agent-proxy-appliance password set --password-file - < password.txt",
        ),
        "Whoever is logged in stays so.",
        changes=True,
    ),
    Verb(
        "ssh show",
        "show whether SSH is on, from where, and the keys",
        _show,
        examples=("agent-proxy-appliance ssh show --json",),
    ),
    Verb(
        "ssh on",
        "let the operator log in by SSH with a key",
        _on,
        (
            Argument(
                "from",
                "list",
                "only from here; repeatable; '' from everywhere",
                "networks such as 10.1.0.0/16",
                check=fields.network,
            ),
        ),
        ("agent-proxy-appliance ssh on --from 10.1.0.0/16",),
        "Passwords are never accepted, and root never.",
        changes=True,
    ),
    Verb(
        "ssh off",
        "let nobody log in by SSH; keys are kept",
        _off,
        examples=("agent-proxy-appliance ssh off",),
        changes=True,
        dangerous=True,
    ),
    Verb(
        "ssh key-add",
        "add a public key of an operator",
        _add,
        (
            Argument(
                "key",
                "lines",
                "the .pub file",
                "one line: ssh-ed25519 AAAA... name",
                required=True,
                positional=True,
                check=access.fingerprint_of,
            ),
        ),
        (
            "agent-proxy-appliance ssh key-add id_ed25519.pub",
            "agent-proxy-appliance ssh key-add - < id_ed25519.pub",
        ),
        changes=True,
    ),
    Verb(
        "ssh key-remove",
        "remove a public key",
        _remove,
        (
            Argument(
                "key",
                "text",
                "its name or SHA256 fingerprint, as `ssh show` says",
                required=True,
                positional=True,
            ),
        ),
        ("agent-proxy-appliance ssh key-remove alice@example.com",),
        changes=True,
    ),
)
