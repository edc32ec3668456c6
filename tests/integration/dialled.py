"""Whom a worker dials and which names it looks up: tests/fakes/witness, read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.nodes import ROOT, Node
from tests.integration.peers import Origin


def witness(node: Node) -> dict[str, str]:
    """Return the environment of a node whose workers are watched."""
    return {
        "PYTHONPATH": str(ROOT / "tests" / "fakes" / "witness"),
        "WITNESS": str(node.home / "dialled"),
    }


class Dialled:
    """What a worker dialled and looked up since this was made, but for the platform itself."""

    def __init__(self, node: Node, platform: Origin) -> None:
        self._path: Path = node.home / "dialled"
        self._platform = [*platform.address]
        self._begin = len(self._lines())

    def _lines(self) -> list[list[Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def others(self) -> list[list[Any]]:
        return [line for line in self._lines()[self._begin :] if line[1:] != self._platform]

    def hosts(self) -> set[str]:
        """Return everybody dialled since the worker was started, the platform as well."""
        return {host for event, host, _ in self._lines() if event == "socket.connect"}
