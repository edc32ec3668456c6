"""Who listens where in the demonstration; everybody has a loopback address of their own."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from tests.fakes.wire import Address


class Taken(Exception):
    """An address that the demonstration needs is in use or cannot be had."""


class Places(NamedTuple):
    """`offset` is added to every port, so that a second one can run beside the first."""

    offset: int = 0
    platform_host: str = "127.0.2.1"
    first_agents: tuple[str, ...] = ("127.0.1.1", "127.0.1.2")
    last_agent: str = "127.0.1.3"

    @property
    def proxy(self) -> Address:
        return "127.0.0.1", 2002 + self.offset

    @property
    def admin(self) -> Address:
        return "127.0.0.1", 2004 + self.offset

    @property
    def platform(self) -> Address:
        return self.platform_host, 3302 + self.offset

    @property
    def agent_port(self) -> int:
        return 2003 + self.offset

    def all(self) -> list[tuple[str, Address]]:
        agents = [("first-generation agent", (host, self.agent_port)) for host in self.first_agents]
        return [
            ("proxy", self.proxy),
            ("proxy's admin listener", self.admin),
            ("stand-in platform", self.platform),
            *agents,
        ]


def require_free(wanted: list[tuple[str, Address]]) -> None:
    """Raises: Taken, naming every address that cannot be listened on."""
    problems = []
    for who, (host, port) in wanted:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.create_server((host, port), family=family):
                pass
        except OSError as fault:
            taken = fault.errno == errno.EADDRINUSE
            problems.append(
                f"{host}:{port} for the {who}: "
                + (f"in use; see who: ss -ltnp 'sport = :{port}'" if taken else f"{fault}")
            )
    if problems:
        raise Taken("\n".join(problems))


def show(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
