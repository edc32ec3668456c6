"""The words of the command line and their help. `cli` runs what is parsed here.

Imports argparse only: the worker is patched by gevent after this and before everything else.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any, Final

from proxy import __version__

__all__ = ["parser"]

_DEFAULT_CONF: Final = "conf/proxy.ini"
_EPILOG: Final = """\
exit codes:
  0  well    1  something failed, or was refused    2  the configuration or the command is wrong

environment:
  AGENT_PROXY_CONF              the configuration file, where --conf is not given
  AGENT_PROXY_<SECTION>_<KEY>   a secret, such as AGENT_PROXY_PROXY_SECRET

examples:
  agent-proxy check                          is this node ready to serve, and if not, why
  agent-proxy register-info                  what to compare when the platform registers this proxy
  agent-proxy certificate self-signed        a first certificate
  agent-proxy --conf /etc/agent-proxy/proxy.ini show
`agent-proxy VERB --help` says more about each verb."""

_ROUTE_EXAMPLE: Final = '"45BCEBB32AA9", agent;zone="default";host="10.0.0.2";port=2003;seal=:...:'


def parser(environ: Mapping[str, str] = os.environ) -> argparse.ArgumentParser:
    """Return the parser. `verb` is always set; `conf` is the path of the configuration."""
    top = argparse.ArgumentParser(
        prog="agent-proxy",
        description="The way between a cloud management platform and agents it cannot reach.",
        epilog=_EPILOG,
        formatter_class=_formatter,
    )
    top.add_argument("--version", action="version", version=f"agent-proxy {__version__}")
    conf = environ.get("AGENT_PROXY_CONF") or _DEFAULT_CONF
    top.add_argument("--conf", metavar="FILE", default=conf, help=f"default: {_DEFAULT_CONF}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    _running(verbs)
    _looking(verbs)
    _certificate(verbs)
    _migrating(verbs)
    return top


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Lines of examples stay lines, and the longest verb fits beside its sense."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=22)


def _verb(verbs: Any, name: str, sense: str, examples: str, more: str = "") -> Any:
    # Any: argparse has no public name for what add_subparsers returns.
    verb = verbs.add_parser(
        name,
        help=sense,
        description=f"{sense[0].upper()}{sense[1:]}.\n{more}".rstrip(),
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.splitlines()),
        formatter_class=_formatter,
    )
    # Before or after the verb; without it here, the one before stays.
    verb.add_argument(
        "--conf", metavar="FILE", default=argparse.SUPPRESS, help="the configuration file"
    )
    return verb


def _json(verb: Any) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON, for programs")


def _count(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) < 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 999")
    return int(text)


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 7300:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 7300")
    return int(text)


def _seconds(text: str) -> float:
    if not text.isdigit() or not 1 <= int(text) <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 3600")
    return float(text)


def _running(verbs: Any) -> None:
    worker = _verb(
        verbs,
        "worker",
        "run one worker process (supervisord does this)",
        "agent-proxy worker --conf conf/proxy.ini --number 0",
        "SIGTERM drains it, SIGHUP lets it read configuration and certificates again.",
    )
    worker.add_argument(
        "--number", type=_count, default=0, metavar="N", help="0, 1, ...: unique on this machine"
    )
    _verb(
        verbs,
        "watchdog",
        "look after the workers of this machine (supervisord runs it)",
        "agent-proxy watchdog --conf conf/proxy.ini",
        "Kills a worker that hangs, drains one that grows; [health] says when.",
    )
    check = _verb(
        verbs,
        "check",
        "test the configuration and everything it relies on",
        "agent-proxy check\nagent-proxy check --deadline 10 --json",
        "One line each: PASS, FAIL or SKIP, and what to do. Exit code 1 if anything failed.",
    )
    check.add_argument(
        "--deadline",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="for everything together; default: 30",
    )
    _json(check)


def _looking(verbs: Any) -> None:
    _verb(
        verbs,
        "show",
        "print the effective settings, secrets masked",
        "agent-proxy show\nagent-proxy show | diff - other-node.txt",
    )
    explain = _verb(
        verbs,
        "explain",
        "say for an Agent-Route what this proxy would do, rule by rule",
        f"agent-proxy explain '{_ROUTE_EXAMPLE}'\nagent-proxy explain --probe \"$(cat route.txt)\"",
    )
    explain.add_argument("route", metavar="ROUTE", help="the value of the Agent-Route field")
    explain.add_argument(
        "--probe", action="store_true", help="connect to the agent as well; nothing is sent to it"
    )
    _json(explain)
    register = _verb(
        verbs,
        "register-info",
        "print what is compared when the platform registers this proxy",
        "agent-proxy register-info\nagent-proxy register-info --json",
    )
    _json(register)
    status = _verb(
        verbs,
        "status",
        "show what the running workers are doing",
        "agent-proxy status\nagent-proxy status --json | less",
    )
    _json(status)


def _certificate(verbs: Any) -> None:
    certificate = _verb(
        verbs,
        "certificate",
        "make, request, install or show the node's certificate",
        "agent-proxy certificate self-signed --name proxy.example.com --name 10.1.2.3\n"
        "agent-proxy certificate request --name proxy.example.com --output proxy.csr\n"
        "agent-proxy certificate install proxy-chain.pem\n"
        "agent-proxy certificate show",
    )
    actions = certificate.add_subparsers(dest="action", metavar="ACTION", required=True)
    own = _verb(
        actions,
        "self-signed",
        "make a certificate and key and put them in place (EC P-256)",
        "agent-proxy certificate self-signed --name proxy.example.com --name 10.1.2.3",
        "An existing certificate is kept unless --force is given.",
    )
    own.add_argument("--days", type=_days, default=397, help="how long it is valid; default: 397")
    own.add_argument(
        "--rsa", action="store_true", help="RSA-2048 instead, for agents on Java 6; slower"
    )
    request = _verb(
        actions,
        "request",
        "make a new key and a signing request for a CA",
        "agent-proxy certificate request --name proxy.example.com --output proxy.csr",
        "The key waits beside the one in use, as *.new, until `install`.",
    )
    request.add_argument("--output", metavar="FILE", help="where to; default: standard output")
    for action in (own, request):
        action.add_argument(
            "--name",
            action="append",
            dest="names",
            metavar="NAME",
            help="a host name or address agents dial; repeatable; default: this machine's",
        )
        action.add_argument("--force", action="store_true", help="replace what is there")
    install = _verb(
        actions,
        "install",
        "check a certificate with its chain and put it in place",
        "agent-proxy certificate install proxy-chain.pem\n"
        "agent-proxy certificate install proxy-chain.pem --key proxy.key",
        "Nothing is touched unless key, order of the chain and dates are right.",
    )
    install.add_argument("chain", metavar="CHAIN", help="PEM: the node's, then each one's issuer")
    install.add_argument(
        "--key", metavar="FILE", help="default: the key of the last `request`, or the one in use"
    )
    show = _verb(
        actions,
        "show",
        "show names, dates and fingerprint of a certificate",
        "agent-proxy certificate show\nagent-proxy certificate show proxy-chain.pem --json",
    )
    show.add_argument("file", nargs="?", metavar="FILE", help="default: the node's own")
    _json(show)


def _migrating(verbs: Any) -> None:
    migrate = _verb(
        verbs,
        "migrate",
        "turn the old Java proxy's settings into a proxy.ini",
        "agent-proxy migrate agentproxy.properties --output conf/proxy.ini",
        "What could not be carried over is said on standard error.",
    )
    migrate.add_argument("file", metavar="FILE", help="agentproxy.properties")
    migrate.add_argument("--output", metavar="FILE", help="a new file; default: standard output")
