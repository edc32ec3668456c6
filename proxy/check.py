"""The verb `check`: is this node ready to serve, and if not, what to do.

Shell. Neighbours: `configuration`, `tls`, `certificates`, `chain` and the other `check_*` below;
`cli` prints. Outcomes come one by one, as they are known, and all within one deadline.
"""

from __future__ import annotations

import os
import resource
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proxy import (
    certificates,
    chain,
    check_listeners,
    check_networks,
    check_upstream,
    configuration,
)
from proxy.errors import ConfigurationProblems
from proxy.outcome import Outcome, failed, passed, skipped
from proxy.probe import Deadline, Shake
from proxy.settings import Settings
from proxy.tls import contexts

__all__ = ["run"]

_RENEW_BEFORE_DAYS: Final = 15
# As in supervisord.conf: two sockets per connection, and what a process holds besides.
_SPARE_DESCRIPTORS: Final = 512


def run(conf: str, deadline_s: float) -> Iterator[Outcome]:
    """Yield one outcome per check, the configuration's first; ends within `deadline_s`."""
    deadline = Deadline(deadline_s)
    try:
        settings = configuration.load(conf)
    except ConfigurationProblems as problems:
        for problem in problems.problems:
            value = f" = {problem.value!r}" if problem.value else ""
            where = f"{problem.file}:{problem.line}" if problem.line else problem.file
            detail = f"{where}: {problem.key}{value}: {problem.message}"
            yield failed("configuration", detail, problem.remedy)
        yield skipped("everything else", "needs a configuration without errors")
        return
    yield passed("configuration", conf)
    yield _identity(settings)
    yield _secret(settings)
    yield _platform(settings)
    yield from _certificate(settings)
    yield from check_listeners.listeners(settings)
    yield from check_networks.zones(settings)
    yield from check_networks.balancers(settings)
    yield _descriptors(settings)
    yield _run_directory(settings)
    yield from _upstream(settings, deadline)


def _identity(settings: Settings) -> Outcome:
    if settings.proxy.id:
        return passed("proxy ID", settings.proxy.id)
    remedy = "Set [proxy] id: random, 4 characters or more, the same on all nodes of a group."
    return failed("proxy ID", "not set: registration and calls are answered 503", remedy)


def _secret(settings: Settings) -> Outcome:
    if settings.proxy.secret:
        return passed("secret", "set")
    remedy = "Set [proxy] secret_file: 32 random characters, the same on all nodes of a group."
    return failed("secret", "not set: return routes cannot be sealed", remedy)


def _platform(settings: Settings) -> Outcome:
    networks = settings.platform.networks
    if networks:
        return passed("platform", f"may call from {', '.join(map(str, networks))}")
    remedy = "Set [platform] networks to the addresses that the platform calls from."
    return failed("platform", "no networks: nobody may call agents or register", remedy)


def _certificate(settings: Settings) -> Iterator[Outcome]:
    name, listen = "certificate", settings.listen
    try:
        content = Path(listen.certificate).read_bytes()
        key = Path(listen.key).read_bytes()
    except OSError as error:
        remedy = "Make one: `agent-proxy certificate self-signed`, or install yours."
        yield failed(name, f"{error.filename}: {error.strerror}", remedy)
        return
    found = chain.problems(content, key)
    for problem in found:
        value = f"{problem.value} " if problem.value else ""
        yield failed(
            name, f"{listen.certificate}: {problem.key}: {value}{problem.message}", problem.remedy
        )
    if found:
        return
    facts = certificates.facts(content)
    signed = "self-signed, " if facts.subject == facts.issuer else ""
    detail = f"{signed}for {', '.join(facts.names)}, valid for {facts.days_left} days"
    if facts.days_left < _RENEW_BEFORE_DAYS:
        remedy = (
            "Renew it: `agent-proxy certificate request`, or `certificate self-signed --force`."
        )
        yield failed(name, f"{detail} only", remedy)
    else:
        yield passed(name, detail)
    if configuration.readable_by_others(listen.key):
        remedy = f"chmod 600 {listen.key}; if others use this machine, make a new key."
        yield failed("key", f"{listen.key} may be read by everybody", remedy)


def _descriptors(settings: Settings) -> Outcome:
    name = "file descriptors"
    needed = 2 * settings.limits.connections + _SPARE_DESCRIPTORS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= needed:
        limit = "no limit" if hard == resource.RLIM_INFINITY else str(hard)
        return passed(name, f"{limit}; {needed} are needed by each worker")
    remedy = f"Set LimitNOFILE={needed} in the service, or lower [limits] connections."
    return failed(name, f"{hard} allowed; {needed} are needed by each worker", remedy)


def _run_directory(settings: Settings) -> Outcome:
    name, path = "run directory", Path(settings.admin.run_dir).absolute()
    existing = next(place for place in (path, *path.parents) if place.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return passed(name, str(path))
    remedy = "Give it to the user that the workers run as, or set [admin] run_dir."
    return failed(name, f"{path} cannot be written", remedy)


def _upstream(settings: Settings, deadline: Deadline) -> Iterator[Outcome]:
    shakes: list[Shake] = []
    context: ssl.SSLContext | None = None
    to_peers: ssl.SSLContext | None = None
    try:
        made = contexts(settings)
        context, to_peers = made.upstream, made.to_peers
    except ConfigurationProblems as problems:
        for problem in problems.problems:
            if "[listen]" not in problem.key:  # reported with the certificate
                yield failed(
                    "files", f"{problem.key} {problem.value}: {problem.message}", problem.remedy
                )
    if not settings.upstream.endpoints:
        remedy = "Set [upstream] endpoint, such as platform.example.com:3302."
        yield failed("upstream", "no endpoint: agents get 503", remedy)
    else:
        yield check_upstream.verification(settings)
    for endpoint in settings.upstream.endpoints:
        yield from check_upstream.endpoint(settings, context, endpoint, deadline, shakes)
    yield check_upstream.clock(shakes)
    yield from check_networks.peers(settings, to_peers, deadline)
