"""What answers mean: settings, or all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import answers
from appliance.answers import Surroundings
from appliance.errors import Problems
from appliance.model import Interface
from appliance.readings import Interface as Card

_ROOT = Path(__file__).parents[3]
_CARDS = (
    Card("ens192", "up", max_mtu=9000, min_mtu=68, mtu=1500),
    Card("ens224", "up", max_mtu=9000, min_mtu=68, mtu=1500),
)
_ENOUGH = {
    "console.password": "correct horse battery",
    "platform.networks": "8.7.6.5",
    "upstream.endpoint": "provisioning.example.com:3302",
}


def made(what: str) -> str:
    return {"id": "45BCEBB32AA9", "secret": "s" * 64}[what]


def judged(values: dict[str, str], *, cards: tuple[Card, ...] = _CARDS) -> answers.Answers:
    around = Surroundings(
        cards=cards,
        timezones=frozenset({"Etc/UTC", "Europe/Berlin"}),
        hostname="debian",
        conf="/opt/agent-proxy/conf/proxy.ini",
        text=(_ROOT / "conf" / "proxy.ini").read_text(),
        read=lambda path: "x" * 64,
    )
    return answers.judge(values, around, made)


def refused(values: dict[str, str]) -> list[str]:
    with pytest.raises(Problems) as caught:
        judged(values)
    return [one.place for one in caught.value.problems]


def test_three_answers_are_enough() -> None:
    found = judged(_ENOUGH)
    assert found.settings.proxy.id == "45BCEBB32AA9"
    assert found.settings.proxy.secret == b"s" * 64
    assert str(found.settings.upstream.endpoints[0]) == "provisioning.example.com:3302"
    assert found.appliance.network.interfaces == (Interface("ens192"),)
    assert not found.appliance.access.ssh
    assert found.password == "correct horse battery"


def test_the_manual_in_proxy_ini_is_kept() -> None:
    before = (_ROOT / "conf" / "proxy.ini").read_text().splitlines()
    after = judged(_ENOUGH).text.splitlines()
    assert [line for line in before if line not in after and line.startswith("#  ")] == []


def test_what_is_missing_is_named_together() -> None:
    assert refused({"hostname": "a"}) == list(answers.REQUIRED)


def test_interfaces_by_name_and_by_number() -> None:
    found = judged(
        {
            **_ENOUGH,
            "network.2.address": "10.2.0.3/16, 2001:db8::3/64",
            "network.2.mtu": "1400",
            "network.ens192.address": "dhcp",
        }
    )
    assert found.appliance.network.interfaces == (
        Interface(
            "ens224",
            dhcp4=False,
            ipv6="static",
            addresses=("10.2.0.3/16", "2001:db8::3/64"),
            mtu=1400,
        ),
        Interface("ens192"),
    )


def test_zones_and_everything_of_proxy_ini_have_their_own_names() -> None:
    found = judged(
        {
            **_ENOUGH,
            "zones.isolated-1.interface": "ens224",
            "agents.networks": "10.0.0.0/8, fd00::/8",
            "listen.min_tls": "1.0",
        }
    )
    assert found.settings.zones[0].interface == "ens224"
    assert found.settings.listen.min_tls == "1.0"
    assert len(found.settings.agents.networks) == 2


_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFmFtCkuKQWU8CXL4lMqHGIWj7UBe0zo3bBWE2Hq+fJS admin@example"
)


def test_keys_switch_ssh_on() -> None:
    found = judged({**_ENOUGH, "ssh.keys": _KEY, "ssh.networks": "10.1.0.0/16"})
    assert found.appliance.access.ssh
    assert found.appliance.access.keys == (_KEY,)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("proxy.idd", "x", "proxy.idd"),
        ("nonsense", "x", "nonsense"),
        ("network.3.address", "dhcp", "network.3.address"),
        ("network.1.mtu", "many", "network.ens192.mtu"),
        ("console.password", "short", "console.password"),
        ("proxy.secret", "short", "proxy.secret"),
        ("updates.mode", "sometimes", "updates.mode"),
        ("time.timezone", "Mars/Olympus", "time.timezone"),
        ("hostname", "not a name", "network.hostname"),
        ("ssh.keys", "no key", "access.keys.1"),
        ("syslog.target", "nowhere", "syslog.target"),
        ("upstream.endpoint", "nowhere:99999", "[upstream] endpoint"),
        ("platform.networks", "all of them", "[platform] networks"),
    ],
)
def test_a_bad_answer_is_refused_beside_its_key(key: str, value: str, place: str) -> None:
    assert place in refused({**_ENOUGH, key: value})


def test_a_refused_password_is_not_shown() -> None:
    with pytest.raises(Problems) as caught:
        judged({**_ENOUGH, "console.password": "hunter2", "proxy.secret": "hunter3"})
    assert "hunter" not in str(caught.value)
