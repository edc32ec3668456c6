"""Log lines sent to a collector as well, over TCP or TLS, by rsyslog.

Values. Neighbours: `model` holds what is wanted; `machine_verbs` above. The journal reaches rsyslog
by Debian's own forwarding; the proxy's files, which supervisor writes, are read by imfile. While
the collector is away lines wait in a queue on disk, of a bounded size, and nothing blocks.
"""

from __future__ import annotations

import re
from typing import Final

from appliance import fields
from appliance.errors import Problem
from appliance.model import Syslog
from appliance.places import Places
from appliance.plan import Action, Plan, Write, rendered
from proxy import chain

__all__ = ["plan", "render", "validate"]

_CONFIGURATION: Final = "/etc/rsyslog.d/60-agent-proxy.conf"
_CA: Final = "/etc/agent-proxy/syslog-ca.pem"
_SYSTEM_CA: Final = "/etc/ssl/certs/ca-certificates.crt"
_QUEUE_MB: Final = 256
_PLAIN: Final = re.compile(r"[A-Za-z0-9.:_-]+")


def validate(wanted: Syslog) -> list[Problem]:
    problems = []
    if wanted.target:
        try:
            fields.endpoint(wanted.target)
        except ValueError as error:
            remedy = "Give host:port, such as log.example.com:6514."
            problems.append(Problem("syslog.target", wanted.target, str(error), remedy))
    if wanted.server_name:
        try:
            fields.domain(wanted.server_name)
        except ValueError as error:
            remedy = "Give the name in the collector's certificate."
            problems.append(Problem("syslog.server_name", wanted.server_name, str(error), remedy))
    if wanted.ca:
        try:
            chain.certificates(wanted.ca.encode())
        except ValueError as error:
            remedy = "Give a PEM file: it begins with -----BEGIN CERTIFICATE-----."
            problems.append(Problem("syslog.ca", "", str(error), remedy))
    if wanted.protocol == "tcp" and (wanted.ca or wanted.server_name):
        message = "nothing is encrypted or checked over plain TCP"
        remedy = "Choose tls, or leave the authorities and the name out."
        problems.append(Problem("syslog.protocol", wanted.protocol, message, remedy))
    return problems


def render(wanted: Syslog, places: Places) -> tuple[Write, ...]:
    """Return rsyslog's drop-in; none where nothing is sent."""
    if not wanted.target:
        return ()
    host, port = fields.endpoint(wanted.target)
    assert _PLAIN.fullmatch(host), "validate() lets nothing else through"
    lines = [
        'module(load="imfile")',
        f'input(type="imfile" file="{places.logs}/worker-*.log" tag="agent-proxy:"',
        '  severity="info" facility="daemon" ruleset="agent-proxy-send")',
        f'input(type="imfile" file="{places.logs}/access-*.log" tag="agent-proxy-access:"',
        '  severity="info" facility="local7" ruleset="agent-proxy-send")',
        'ruleset(name="agent-proxy-send") {',
        *_action(wanted, host, port, "agent-proxy-files"),
        "}",
        *_action(wanted, host, port, "agent-proxy-journal"),
    ]
    writes = [Write(_CONFIGURATION, rendered(lines))]
    if wanted.ca:
        writes.append(Write(_CA, wanted.ca.encode()))
    return tuple(writes)


def _action(wanted: Syslog, host: str, port: int, queue: str) -> list[str]:
    lines = [
        f'action(type="omfwd" target="{host}" port="{port}" protocol="tcp"',
        '  template="RSYSLOG_SyslogProtocol23Format" TCP_Framing="octet-counted"',
    ]
    if wanted.protocol == "tls":
        lines += [
            '  StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/name"',
            f'  StreamDriverPermittedPeers="{wanted.server_name or host}"',
            f'  StreamDriver.CAFile="{_CA if wanted.ca else _SYSTEM_CA}"',
        ]
    lines += [
        '  action.resumeRetryCount="-1" action.resumeInterval="10"',
        f'  queue.type="LinkedList" queue.filename="{queue}" queue.saveOnShutdown="on"',
        f'  queue.maxDiskSpace="{_QUEUE_MB}m" queue.timeoutEnqueue="0")',
    ]
    return lines


def plan(now: Syslog, wanted: Syslog, places: Places) -> Plan:
    writes = render(wanted, places)
    kept = {write.path for write in writes}
    removals = tuple(one.path for one in render(now, places) if one.path not in kept)
    # rsyslogd -N1 reads the files as the service would; a mistake takes the change back.
    check = Action(("rsyslogd", "-N1"), "checking the log settings", reverse=())
    restart = Action(("systemctl", "restart", "rsyslog.service"), "restarting rsyslog")
    return Plan("remote log", writes, removals, (check, restart))
