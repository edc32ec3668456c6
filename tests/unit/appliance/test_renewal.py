"""supervisord replaced while a bridge serves: the order, and what is left when a step fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance import renewal
from appliance.errors import Refusal
from appliance.system import Completed, Fetched
from appliance.verb import Context
from tests.unit.appliance.machines import Machine, recorded

_STATUS = (
    "agent-proxy:watchdog RUNNING pid 3\n"
    "agent-proxy:worker-0 RUNNING pid 1\n"
    "agent-proxy:worker-1 RUNNING pid 2\n"
)
_BRIDGE = ["agent-proxy-bridge@900.service", "agent-proxy-bridge@901.service"]
_ALL = [
    f"systemctl start {_BRIDGE[0]}",
    f"systemctl start {_BRIDGE[1]}",
    "systemctl stop agent-proxy.service",
    "systemctl start agent-proxy.service",
    f"systemctl stop {' '.join(_BRIDGE)}",
]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = recorded(tmp_path)
    made.answers["supervisorctl status"] = Completed(0, _STATUS, "")
    _let_be_ready(made, "0", "1", "900", "901")
    return made


def _let_be_ready(machine: Machine, *numbers: str) -> None:
    document = {"ready": True, "workers": dict.fromkeys(numbers, "ready")}
    machine.pages["/ready"] = Fetched(200, json.dumps(document).encode())


def test_others_serve_while_supervisord_is_replaced(machine: Machine) -> None:
    names = renewal.renew(Context(machine))
    assert names == ["agent-proxy:watchdog", "agent-proxy:worker-0", "agent-proxy:worker-1"]
    assert machine.ran == _ALL


def test_without_a_bridge_nothing_is_stopped(machine: Machine) -> None:
    _let_be_ready(machine, "0", "1", "900")
    with pytest.raises(Refusal, match="worker 901 is not ready"):
        renewal.renew(Context(machine))
    assert machine.ran == [*_ALL[:2], _ALL[4]]


def test_a_bridge_that_ends_is_not_waited_for(machine: Machine) -> None:
    _let_be_ready(machine, "0", "1", "900")
    machine.answers[f"systemctl is-active {_BRIDGE[1]}"] = Completed(3, "failed\n", "")
    began = machine.up_s
    with pytest.raises(Refusal, match="worker 901 ended by itself"):
        renewal.renew(Context(machine))
    assert machine.up_s == began
    assert machine.ran == [*_ALL[:2], _ALL[4]]


def test_what_is_worse_than_an_interruption_is_replaced_all_the_same(machine: Machine) -> None:
    _let_be_ready(machine, "0", "1")
    renewal.renew(Context(machine), insist=True)
    assert machine.ran == _ALL


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (Completed(4, "no such file\n", ""), "supervisord does not answer"),
        (Completed(3, _STATUS.replace("RUNNING pid 2", "FATAL"), ""), "worker-1 is FATAL"),
    ],
)
def test_the_bridge_serves_on_where_the_service_does_not_come_back(
    machine: Machine, status: Completed, said: str
) -> None:
    class Dying(Machine):
        def run(
            self, argv: tuple[str, ...], *, input: bytes = b"", timeout_s: float = 60.0
        ) -> Completed:
            done = super().run(argv, input=input, timeout_s=timeout_s)
            if self.ran[-1] == _ALL[2]:
                self.answers["supervisorctl status"] = status
            return done

    dying = Dying(Path(machine.root), machine.answers)
    dying.pages = machine.pages
    with pytest.raises(Refusal, match=said):
        renewal.renew(Context(dying))
    assert dying.ran == _ALL[:4]


def test_wrong_settings_are_refused_before_anything_is_touched(machine: Machine) -> None:
    machine.write("/opt/agent-proxy/conf/proxy.ini", b"[listen]\nport = none\n")
    with pytest.raises(Refusal, match=r"proxy\.ini has problems"):
        renewal.renew(Context(machine))
    assert machine.ran == []
