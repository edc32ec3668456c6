"""The appliance's settings as a file: strict, and every problem at once."""

from __future__ import annotations

import json

import pytest

from appliance import model
from appliance.errors import Problems
from appliance.model import Access, Appliance, Interface, Network, Route, Syslog

_FULL = Appliance(
    network=Network(
        "node-1",
        (
            Interface("eth0", dhcp4=True, vlans=(100,)),
            Interface(
                "eth0.100",
                dhcp4=False,
                ipv6="static",
                addresses=("10.1.2.3/24", "fd00::3/64"),
                gateway4="10.1.2.1",
                routes=(Route("10.9.0.0/16", "10.1.2.254"),),
                mtu=1400,
            ),
        ),
        dns=("10.1.2.53",),
    ),
    access=Access(True, ("ssh-ed25519 AAAA ä",)),
    syslog=Syslog("log.example.com:6514"),
)


def test_what_is_written_is_read_back() -> None:
    assert model.from_json(model.to_json(_FULL)) == _FULL


def test_no_file_and_an_empty_one_are_the_defaults() -> None:
    assert model.from_json(None) == model.from_json(b"{}") == Appliance()


def problems(document: object) -> list[tuple[str, str]]:
    with pytest.raises(Problems) as caught:
        model.from_json(json.dumps(document).encode())
    return [(one.place, one.message) for one in caught.value.problems]


def test_every_problem_is_found_at_once() -> None:
    document = {
        "netwrok": {},
        "network": {
            "hostname": 5,
            "interfaces": [
                {"name": "eth0", "dhcp4": "yes", "ipv6": "maybe", "mtu": True},
                {"addresses": "10.0.0.1/8"},
                7,
            ],
            "dns": None,
        },
        "access": {"ssh": 1},
    }
    assert set(problems(document)) == {
        ("netwrok", "there is no such setting"),
        ("network.hostname", "is not a text in quotes"),
        ("network.interfaces.eth0.dhcp4", "is not true or false"),
        ("network.interfaces.eth0.ipv6", "is not known here"),
        ("network.interfaces.eth0.mtu", "is not a whole number"),
        ("network.interfaces.2.addresses", "is no list"),
        ("network.interfaces.2.name", "is missing"),
        ("network.interfaces.3", "is no object"),
        ("network.dns", "is no list"),
        ("access.ssh", "is not true or false"),
    }


def test_a_remedy_says_what_was_probably_meant() -> None:
    with pytest.raises(Problems) as caught:
        model.from_json(b'{"netwrok": {}}')
    assert caught.value.problems[0].remedy == "Did you mean network?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[]", "holds no JSON object"),
        (b'{"version": 2}', "only version 1"),
        (b'{"access": {}, "access": {}}', "'access' is given twice"),
        (b"[" * 100_000, "cannot be read"),
    ],
)
def test_a_file_that_is_none(text: bytes, message: str) -> None:
    with pytest.raises(Problems, match=message):
        model.from_json(text)
