"""Who may log in over the network: nobody, or the operator by SSH with a key.

Values. Neighbours: `model` holds what is wanted; `access_verbs` above. From where the port can be
reached at all is the firewall's: `networks` go there as well as into sshd's own rule.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from appliance import fields
from appliance.errors import Problem
from appliance.model import Access
from appliance.plan import Action, Plan, Write, rendered

__all__ = ["KEYS", "fingerprint_of", "plan", "render", "validate"]

KEYS: Final = "/etc/agent-proxy/operator.keys"
_SSHD: Final = "/etc/ssh/sshd_config.d/10-agent-proxy.conf"
_USER: Final = "operator"
_UNIT: Final = "ssh.service"
# ssh-dss and ssh-rsa below 2048 bits are left out by sshd itself; the names are those of keys.
_KINDS: Final = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
_RSA_BYTES_MIN: Final = 256 + 20


def validate(wanted: Access) -> list[Problem]:
    problems = []
    for number, text in enumerate(wanted.keys, 1):
        try:
            fingerprint_of(text)
        except ValueError as error:
            remedy = "Paste the one line of the .pub file: ssh-ed25519 AAAA... name."
            shown = text if len(text) <= 40 else f"{text[:37]}..."
            problems.append(Problem(f"access.keys.{number}", shown, str(error), remedy))
    bodies = [text.split()[1] for text in wanted.keys if len(text.split()) > 1]
    if len(set(bodies)) != len(bodies):
        problems.append(Problem("access.keys", "", "a key is given twice", "Keep one."))
    for text in wanted.networks:
        try:
            fields.network(text)
        except ValueError as error:
            remedy = "Give networks such as 10.1.0.0/16."
            problems.append(Problem("access.networks", text, str(error), remedy))
    if wanted.ssh and not wanted.keys:
        message = "without a key nobody could log in, and passwords are never accepted"
        problems.append(Problem("access.ssh", "on", message, "Add a key first: ssh key-add."))
    return problems


def fingerprint_of(line: str) -> tuple[str, str, bytes]:
    """Return kind, comment and the key itself of a line of a .pub file. Raises: ValueError.

    Options in front of a key ("command=...") are refused: they have no business here.
    """
    words = line.split()
    if "\n" in line.strip() or "\r" in line.strip() or len(words) < 2:
        raise ValueError("is not one line of kind, key and name")
    if "PRIVATE" in line:
        raise ValueError("is a private key: keep it to yourself")
    if words[0] not in _KINDS:
        raise ValueError("is no kind of key that is accepted")
    try:
        content = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is damaged: its middle is no base64") from None
    kind = words[0].encode()
    if not content.startswith(len(kind).to_bytes(4, "big") + kind):
        raise ValueError("is damaged: its middle is not of the kind it says")
    if words[0] == "ssh-rsa" and len(content) < _RSA_BYTES_MIN:
        raise ValueError("is an RSA key of less than 2048 bits")
    return words[0], " ".join(words[2:]), content


def render(wanted: Access) -> tuple[Write, ...]:
    """Return the operator's keys and what sshd may do; both are there while SSH is off, too."""
    users = [f"{_USER}@{network}" for network in wanted.networks] or [_USER]
    lines = [
        f"AllowUsers {' '.join(users)}",
        "PermitRootLogin no",
        "PubkeyAuthentication yes",
        f"AuthorizedKeysFile {KEYS}",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "HostbasedAuthentication no",
        "PermitEmptyPasswords no",
        "MaxAuthTries 3",
        "LoginGraceTime 30",
        "MaxSessions 4",
        "AllowTcpForwarding no",
        "AllowAgentForwarding no",
        "AllowStreamLocalForwarding no",
        "GatewayPorts no",
        "PermitTunnel no",
        "X11Forwarding no",
        "PermitUserEnvironment no",
        "PermitUserRC no",
        "ClientAliveInterval 60",
        "ClientAliveCountMax 3",
        "LogLevel VERBOSE",
    ]
    keys = rendered(list(wanted.keys))
    return (Write(KEYS, keys, 0o644), Write(_SSHD, rendered(lines)))


def plan(now: Access, wanted: Access) -> Plan:
    actions = []
    if wanted.ssh and not now.ssh:
        argv = ("systemctl", "enable", "--now", _UNIT)
        reverse = ("systemctl", "disable", "--now", _UNIT)
        actions.append(Action(argv, "starting SSH", reverse=reverse))
    elif now.ssh and not wanted.ssh:
        argv = ("systemctl", "disable", "--now", _UNIT)
        reverse = ("systemctl", "enable", "--now", _UNIT)
        actions.append(Action(argv, "stopping SSH", reverse=reverse))
    elif wanted.ssh and render(now)[1] != render(wanted)[1]:
        # Keys are read at each login; what is allowed is not.
        actions.append(Action(("systemctl", "reload", _UNIT), "letting sshd read its settings"))
    return Plan("ssh access", render(wanted), actions=tuple(actions))
