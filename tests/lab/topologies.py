"""The configurations that docs/topologies.md prints, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "topologies.md"
_BLOCK = re.compile(r"<!-- proxy\.ini: ([a-z0-9-]+) -->\n```ini\n(.*?)```", re.DOTALL)


def configurations() -> dict[str, str]:
    """Return the text of each proxy.ini by its name."""
    return dict(_BLOCK.findall(PAGE.read_text(encoding="utf-8")))
