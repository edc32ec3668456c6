"""The verb `certificate`: where files lie, what is kept, what the operator does next.

Shell. Neighbours: `certificates` makes and installs, `configuration` says where; `cli` prints.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Final

from proxy import certificates, configuration
from proxy.settings import Listen, Settings
from proxy.verbs import Refusal, addresses_of_machine

__all__ = ["install", "request", "self_signed", "show"]

_FILE_LIMIT_BYTES: Final = 1 << 20
_NEXT: Final = (
    "Workers that run read it on SIGHUP: "
    "supervisorctl -s unix://VAR/run/supervisor.sock signal HUP agent-proxy:*"
)


def self_signed(
    conf: str, names: list[str] | None, days: int, *, rsa_key: bool, force: bool
) -> list[str]:
    """Make a certificate and put it in place; return what to know.

    Raises: ConfigurationProblems, Refusal.
    """
    settings = configuration.load(conf)
    listen = settings.listen
    for path in (listen.certificate, listen.key):
        if os.path.exists(path) and not force:
            raise Refusal(f"{path} exists already and is kept. Give --force to replace it")
    try:
        certificate, key = certificates.self_signed(
            names or _own_names(settings), days, rsa_key=rsa_key
        )
    except ValueError as error:
        raise Refusal(str(error)) from error
    return [*_placed(certificate, key, listen), _NEXT]


def request(
    conf: str, names: list[str] | None, output: str | None, *, force: bool
) -> tuple[list[str], list[str]]:
    """Make a key and a signing request; return the request (if not written) and what to know.

    Raises: ConfigurationProblems, Refusal.
    """
    settings = configuration.load(conf)
    waiting = _waiting(settings.listen)
    if os.path.exists(waiting) and not force:
        reason = f"{waiting} waits for the answer to an earlier request"
        raise Refusal(f"{reason}. Give --force to start again; that answer is then useless")
    try:
        signed, key = certificates.request(names or _own_names(settings))
        certificates.write(waiting, key, mode=0o600)
        if output is not None:
            certificates.write(output, signed, mode=0o644)
    except ValueError as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        raise Refusal(_unwritten(error)) from error
    lines = [] if output is not None else signed.decode().splitlines()
    sent = output or "the request"
    return lines, [
        f"{waiting} holds the new key; it never leaves this machine.",
        f"Let your CA sign {sent}, then: agent-proxy certificate install CHAIN.pem",
    ]


def install(conf: str, chain: str, key: str | None) -> list[str]:
    """Check a chain and its key and put them in place; return what to know.

    Raises: ConfigurationProblems with everything wrong with either, Refusal.
    """
    listen = configuration.load(conf).listen
    waiting = _waiting(listen)
    from_request = key is None and os.path.exists(waiting)
    key_path = key or (waiting if from_request else listen.key)
    notes = _placed(_content(chain), _content(key_path), listen)
    if from_request:
        os.unlink(waiting)
    return [*notes, _NEXT]


def show(conf: str, file: str | None) -> dict[str, Any]:
    """Return what is in a certificate, by default the node's own. Raises: Refusal."""
    path = file or configuration.load(conf).listen.certificate
    try:
        facts = certificates.facts(_content(path))
    except ValueError as error:
        raise Refusal(f"{path} {error}") from error
    return {
        "file": path,
        "subject": facts.subject,
        "issuer": facts.issuer,
        "names": ", ".join(facts.names),
        "not_before": facts.not_before.isoformat(),
        "not_after": facts.not_after.isoformat(),
        "days_left": facts.days_left,
        "key": facts.key_kind,
        "sha256": facts.sha256,
    }


def _placed(certificate: bytes, key: bytes, listen: Listen) -> list[str]:
    try:
        facts = certificates.install(certificate, key, listen.certificate, listen.key)
    except OSError as error:
        raise Refusal(_unwritten(error)) from error
    names = ", ".join(facts.names)
    return [
        f"{listen.certificate} is for {names}.",
        f"Valid for {facts.days_left} days, {facts.key_kind}.",
        f"SHA-256 {facts.sha256}",
    ]


def _waiting(listen: Listen) -> str:
    return f"{listen.key}.new"


def _own_names(settings: Settings) -> list[str]:
    """Return what agents may dial: the listening addresses, and the names of this machine."""
    node = os.uname().nodename
    return list(dict.fromkeys((node, socket.getfqdn(node), *addresses_of_machine(settings))))


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > _FILE_LIMIT_BYTES:
        raise Refusal(f"{Path(path).name} is larger than {_FILE_LIMIT_BYTES} bytes: no PEM file")
    return content


def _unwritten(error: OSError) -> str:
    return f"{error.filename} cannot be written: {error.strerror}"
