"""Network namespaces, the cables between them, and packet filters inside them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess


class Missing(Exception):
    """Why there can be no lab here."""


def require(*programs: str) -> None:
    """Raises: Missing without root, a program, or the right to make namespaces."""
    if os.geteuid() != 0:
        raise Missing("network namespaces need root")
    for program in ("ip", *programs):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            raise Missing(f"{program} is not installed (sh tests/packages.sh)")
    name = f"lab{os.getpid()}-probe"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"no network namespaces here: {done.stderr.strip()}")
    run("ip", "netns", "del", name)


def run(*words: str, stdin: str = "") -> str:
    """Return what a command printed. Raises: RuntimeError with what it complained about."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Network:
    """Namespaces of one scenario, by short names; `close` removes them all."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._cables = 0

    def full(self, name: str) -> str:
        return f"lab{os.getpid()}-{name}"

    def machine(self, *names: str) -> None:
        """Add machines: each a namespace with its own loopback, nothing else."""
        for name in names:
            run("ip", "netns", "add", self.full(name))
            self._names.append(name)
            self.ip(name, "link", "set", "lo", "up")
            for key in ("all", "default"):
                self.sysctl(name, f"net/ipv4/conf/{key}/rp_filter", "0")
                self.sysctl(name, f"net/ipv6/conf/{key}/accept_dad", "0")

    def switch(self, name: str) -> None:
        """Add a machine that only connects others: a bridge called `lan`."""
        self.machine(name)
        self.ip(name, "link", "add", "lan", "type", "bridge")
        self.ip(name, "link", "set", "lan", "up")

    def cable(self, left: str, interface: str, right: str, other: str = "") -> None:
        """Connect two machines; without `other` the right one is a switch."""
        self._cables += 1
        port = other or f"p{self._cables}"
        self.ip(
            left, "link", "add", interface, "type", "veth",
            "peer", "name", port, "netns", self.full(right),
        )  # fmt: skip
        if not other:
            self.ip(right, "link", "set", port, "master", "lan")
        self.ip(right, "link", "set", port, "up")
        self.ip(left, "link", "set", interface, "up")

    def address(self, name: str, interface: str, *addresses: str) -> None:
        for address in addresses:
            extra = ["nodad"] if ":" in address else []
            self.ip(name, "address", "add", address, "dev", interface, *extra)

    def attach(self, name: str, interface: str, switch: str, *addresses: str) -> None:
        self.cable(name, interface, switch)
        self.address(name, interface, *addresses)

    def ip(self, name: str, *words: str) -> str:
        return run("ip", "-n", self.full(name), *words)

    def inside(self, name: str, *words: str) -> list[str]:
        """Return the command that runs `words` on a machine."""
        return ["ip", "netns", "exec", self.full(name), *words]

    def filter(self, name: str, rules: str) -> None:
        run(*self.inside(name, "nft", "-f", "-"), stdin=rules)

    def sysctl(self, name: str, key: str, value: str) -> None:
        run(*self.inside(name, "sh", "-c", f"echo {value} > /proc/sys/{key}"))

    def close(self) -> None:
        for name in reversed(self._names):
            with contextlib.suppress(RuntimeError):
                run("ip", "netns", "del", self.full(name))
        self._names.clear()
