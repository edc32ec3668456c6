"""docs/install.md keeps to the product: its answers, its sizes, its pictures, its files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from appliance import answers, proxy_setup

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "install.md").read_text()
_USER_DATA = re.search(r"```yaml\n(#cloud-config\n.*?)```", TEXT, re.DOTALL)
# docs/performance.md, on a busy machine.
_TUNNEL_KB = 53
_NEW_US = 750
_SYSTEM_MIB = 220


def test_the_example_of_answers_is_taken() -> None:
    assert _USER_DATA is not None
    given = yaml.safe_load(_USER_DATA[1])["agent-proxy"]
    known = {key.name.replace("NAME", "1") for key in answers.KEYS}
    flat = {}
    for name, value in given.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{part}": one for part, one in value.items()}
        else:
            flat[name] = value
    for name in flat:
        if name not in known:
            proxy_setup.place(name)  # raises Problems where the proxy has no such setting
    assert set(answers.REQUIRED) <= set(flat)
    json.dumps(flat)


def test_sizes_are_those_of_the_measurements() -> None:
    rows = re.findall(
        r"^\| ([\d,]+) \| (\d+) \| (\d+) GiB \| \d+ GiB \| (\d+) s \|$", TEXT, re.MULTILINE
    )
    assert len(rows) == 4
    for agents, vcpus, gib, seconds in rows:
        number = int(agents.replace(",", ""))
        # A tunnel's own memory, as much for the kernel's sockets, and a quarter stays free.
        mib = number * 2 * _TUNNEL_KB * 1000 / 2**20 + _SYSTEM_MIB
        assert mib <= 0.75 * 1024 * int(gib) * 1.02, agents
        assert abs(number / (int(vcpus) * 0.5e6 / _NEW_US) - float(seconds)) <= 1, agents


def test_every_picture_and_page_is_there() -> None:
    for name in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT):
        assert (ROOT / "docs" / name).exists(), name
