"""Each scenario of the lab as a test; skipped, with the reason, where namespaces cannot be made."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.lab.cast import Lab
from tests.lab.network import Missing, require
from tests.lab.scenarios import SCENARIOS
from tests.lab.topologies import ROOT, configurations


@pytest.mark.deadline(180)
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_holds(name: str) -> None:
    try:
        require("nft", "haproxy")
    except Missing as missing:
        pytest.skip(str(missing))
    try:
        with Lab(print) as lab:
            SCENARIOS[name](lab)
    except Missing as missing:
        pytest.skip(str(missing))


def test_balancer_example_is_valid() -> None:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    words = [program, "-c", "-f", str(ROOT / "conf" / "haproxy.cfg")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_drawing_has_its_configuration() -> None:
    assert set(configurations()) == {
        *("firewall", "no-way-out", "isolated", "cloud-a", "cloud-b", "balanced"),
        *("outer", "middle", "inner", "dual", "vrf"),
        *("balanced-six", "outer-six", "inner-six"),
    }
