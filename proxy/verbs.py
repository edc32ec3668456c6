"""What the verbs do: each returns the lines to print. `cli` prints them.

Shell. Neighbours: `configuration`, `own`, `node`, `settings` below; imports are inside the verbs
where they are heavy, so that `show` need not wait for TLS libraries.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, Final

from proxy import configuration
from proxy.errors import NotReady, ProxyError
from proxy.settings import Settings, show

__all__ = [
    "Refusal",
    "addresses_of_machine",
    "effective_settings",
    "explain",
    "explained",
    "migrate",
    "register_info",
    "registered",
    "status",
]

_STATUS_TIMEOUT_S: Final = 5.0
_STATUS_LIMIT_BYTES: Final = 16 << 20
_PROPERTIES_LIMIT_BYTES: Final = 1 << 20
# TEST-NET-1 and the documentation prefix: only a route is looked up, nothing is sent.
_ANYWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


class Refusal(ProxyError):
    """A verb that cannot be carried out; the text says why and what to do."""


def effective_settings(conf: str) -> list[str]:
    """Return the effective settings as a proxy.ini, secrets masked."""
    return [f"# {conf}: effective settings, defaults included, secrets masked", *_settings(conf)]


def _settings(conf: str) -> list[str]:
    lines = show(configuration.load(conf))
    while lines and not lines[-1]:
        lines.pop()
    return lines


def explain(conf: str, route: str, *, probe: bool) -> dict[str, Any]:
    """Return every decision for a route, as `GET /agent-proxy/v1/explain` would.

    Raises: ConfigurationProblems, Refusal.
    """
    from proxy import own
    from proxy.node import Node

    node = Node(configuration.load(conf))
    try:
        return own.explain(node, route.strip().encode("utf-8", "replace"), probe=probe)
    except NotReady as error:
        raise Refusal(error.detail) from error
    finally:
        node.close()


def explained(result: dict[str, Any]) -> list[str]:
    """Return an explanation as lines: one per rule, then the outcome."""
    lines = [
        f"{'yes' if decision['allowed'] else 'NO ':3}  {decision['rule']:<12} {decision['detail']}"
        for decision in result["decisions"]
    ]
    if "probe" in result:
        probe = result["probe"]
        reached = "yes" if probe["reachable"] else "NO "
        lines.append(f"{reached}  {'probe':<12} {probe['detail']} ({probe['milliseconds']} ms)")
    verdict = "would be forwarded" if result["allowed"] else "would be refused"
    return [*lines, "", f"A call with this route {verdict}."]


def register_info(conf: str) -> dict[str, Any]:
    """Return what the operator compares, and the address to name, at registration.

    Raises: ConfigurationProblems, Refusal without an ID.
    """
    from proxy import own
    from proxy.node import Node

    node = Node(configuration.load(conf))
    try:
        document: dict[str, Any] = json.loads(own.registration(node).body)
    except NotReady as error:
        remedy = "Set [proxy] id, or make one by `make run`; the same on all nodes of a group."
        raise Refusal(f"{error.detail}. {remedy}") from error
    finally:
        node.close()
    return {**document, "addresses": _addresses(node.settings)}


def registered(document: dict[str, Any]) -> list[str]:
    """Return the registration facts as lines."""
    rows = (
        ("agent proxy ID", document["agentProxyId"]),
        ("node", document["node"]),
        ("version", document["version"]),
        ("zones", ", ".join(document["zones"])),
        ("settings digest", document["configDigest"]),
        ("certificate SHA-256", document["certificateSha256"]),
        ("IP:port to name", ", ".join(document["addresses"])),
    )
    return [
        *(f"{name:<20} {value}" for name, value in rows),
        "",
        "Name IP:port to the platform (behind a firewall or balancer: its public side). The",
        "platform then asks this proxy for its ID: confirm only if it is the one above. Digest and",
        "certificate tell nodes of one group apart that are set differently.",
    ]


def _addresses(settings: Settings) -> list[str]:
    port = settings.listen.port
    found = addresses_of_machine(settings) or ["this machine's address"]
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in found]


def addresses_of_machine(settings: Settings) -> list[str]:
    """Return where this proxy can be reached: for a wildcard, what calls would come from."""
    found: list[str] = []
    for address in settings.listen.addresses:
        wild = {"0.0.0.0": _ANYWHERE[0], "::": _ANYWHERE[1]}.get(address)
        found.append(_source_address(*wild) if wild else address)
    return [host for host in found if host]


def _source_address(family: socket.AddressFamily, towards: str) -> str:
    """Return the address this machine would call from; "" without a route. Sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def status(conf: str) -> dict[str, Any]:
    """Return the document that the running workers give. Raises: ConfigurationProblems, Refusal."""
    import http.client

    admin = configuration.load(conf).admin
    where = f"{admin.address}:{admin.port}"
    connection = http.client.HTTPConnection(admin.address, admin.port, timeout=_STATUS_TIMEOUT_S)
    try:
        connection.request("GET", "/status", headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(_STATUS_LIMIT_BYTES)
        document = json.loads(body)
    except OSError as error:
        remedy = "Are the workers running? See `supervisorctl status` and their logs."
        raise Refusal(f"nothing answers on {where} ([admin]): {error}. {remedy}") from error
    except (http.client.HTTPException, ValueError) as error:
        remedy = "Another program may be using this port: see [admin] port."
        raise Refusal(f"what answers on {where} is no agent proxy. {remedy}") from error
    finally:
        connection.close()
    if not isinstance(document, dict):
        raise Refusal(f"what answers on {where} is no agent proxy. See [admin] port.")
    return document


def migrate(file: str, output: str | None) -> tuple[list[str], list[str]]:
    """Return the lines of a proxy.ini (none if written to `output`) and what to know about it.

    Raises: Refusal if `output` exists or a file cannot be used.
    """
    from proxy import migration

    try:
        with open(file, "rb") as opened:
            content = opened.read(_PROPERTIES_LIMIT_BYTES + 1)
    except OSError as error:
        raise Refusal(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > _PROPERTIES_LIMIT_BYTES:
        raise Refusal(f"{file} is larger than {_PROPERTIES_LIMIT_BYTES} bytes: no properties file")
    result = migration.migrate(content.decode("latin-1"))  # what Java's Properties reads
    if output is None:
        return result.ini.splitlines(), list(result.notes)
    _create(output, result.ini)
    done = f"{output} is written; next: `agent-proxy --conf {output} check`"
    return [], [*result.notes, done]


def _create(path: str, text: str) -> None:
    """Write a new file, readable by owner and group only. Raises: Refusal if it is there."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    except FileExistsError as error:
        remedy = "Name another file, or move this one away first."
        raise Refusal(f"{path} exists already and is not overwritten. {remedy}") from error
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}") from error
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
