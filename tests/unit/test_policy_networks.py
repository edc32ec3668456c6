"""Policy for balancers' own connections and peers."""

from __future__ import annotations

import pytest

from proxy import headers, policy, settings
from proxy.callers import Caller, seal_keys
from proxy.destinations import Surroundings
from proxy.errors import BadRoute, Forbidden, NotReady, RelayError
from proxy.heads import HeadLimits, RequestHead
from proxy.http1 import RequestReader
from proxy.policy import Forward, Own
from proxy.settings import Settings

TEXT = f"""
[proxy]
id = OUTER00001
secret = {"s" * 32}
[platform]
networks = 192.0.2.1
[zones]
[[one]]
interface = e1
networks = 10.0.0.0/8, 192.0.2.0/24
[peers]
[[NEARER0001]]
endpoint = [fd00::9]:2002
networks = fd00::9
certificate = {"ab" * 32}
[[BARE000001]]
endpoint = 10.9.0.3:2002
networks = 10.9.0.3
[[FARTHER001]]
role = farther
networks = 10.9.0.2
"""
SETTINGS = settings.parse(TEXT.splitlines())
KEYS = seal_keys(SETTINGS)
NEARER = Caller("peer", "fd00::9", "-", SETTINGS.peers[0])
CLAIMS = (
    b"Agent-Proxy-Id: NEARER0001\r\nAgent-Proxy-Zone: z\r\nAgent-Proxy-Source: 10.0.0.2\r\n"
    b'Agent-Route: "NEARER0001", agent;zone="z";host="10.0.0.2";port=2003\r\n'
)


def decide(
    caller: Caller, fields: bytes, first: bytes = b"GET / HTTP/1.1", used: Settings = SETTINGS
) -> Forward | Own:
    reader = RequestReader(HeadLimits(32768, 100, 8192))
    reader.feed(first + b"\r\nHost: a\r\n" + fields + b"\r\n")
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    around = Surroundings(lambda address, interface: False, frozenset())
    return policy.decide(used, caller, head, None, lambda: around, KEYS)


def test_balancers_own_connection_may_ask_for_readiness() -> None:
    balancer = Caller("balancer", "10.0.0.9", "-")
    ready = b"GET /agent-proxy/v1/ready HTTP/1.1"
    assert decide(balancer, b"", ready) == Own("ready")
    assert decide(balancer, b"", ready.replace(b"GET", b"HEAD")) == Own("ready")
    for first in (b"GET / HTTP/1.1", ready.replace(b"GET", b"POST")):
        with pytest.raises(Forbidden):
            decide(balancer, b"Content-Length: 0\r\n", first)


def test_identity_that_a_nearer_peer_vouches_for_is_kept() -> None:
    forward = decide(NEARER, CLAIMS)
    assert isinstance(forward, Forward)
    assert (forward.target.kind, forward.rewrite.strip) == ("platform", headers.FROM_PEER)
    assert forward.rewrite.added == (
        b'Agent-Route: "OUTER00001", "NEARER0001", agent;zone="z";host="10.0.0.2";port=2003\r\n'
        b'Forwarded: for="[fd00::9]";by=_OUTER00001;host="a";proto=https\r\nVia: 1.1 OUTER00001\r\n'
    )
    assert NEARER.is_below and not Caller("platform", "192.0.2.1", "-").is_below


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (b"", Forbidden),
        (CLAIMS + b"Agent_Proxy_Id: x\r\n", Forbidden),
        (CLAIMS + b"Agent-Proxy-Else: x\r\n", Forbidden),
        (CLAIMS + b'Agent-Route: "NEARER0001"\r\n', Forbidden),
        (CLAIMS.replace(b"-Zone: z", b"-Zone: y"), BadRoute),
        (CLAIMS.replace(b"-Source: 10.0.0.2", b"-Source: 10.0.0.3"), BadRoute),
        (CLAIMS.replace(b'"NEARER0001", ', b""), BadRoute),
        (CLAIMS.replace(b'"NEARER0001", ', b'"ANOTHER001", "NEARER0001", '), BadRoute),
        (CLAIMS.replace(b'"NEARER0001", ', b'"NEARER0001", "OUTER00001", '), BadRoute),
    ],
)
def test_what_a_peer_cannot_vouch_for_is_refused(fields: bytes, error: type[RelayError]) -> None:
    with pytest.raises(error):
        decide(NEARER, fields)


def test_without_an_id_no_route_can_lead_through_here() -> None:
    nameless = settings.parse(TEXT.replace("id = OUTER00001", "id =").splitlines())
    with pytest.raises(NotReady):
        decide(NEARER, CLAIMS, used=nameless)


@pytest.mark.parametrize("caller", ["platform", "farther"])
def test_call_through_a_nearer_peer_goes_to_its_endpoint(caller: str) -> None:
    who = Caller("platform", "192.0.2.1", "-")
    if caller == "farther":
        who = Caller("peer", "10.9.0.2", "-", SETTINGS.peers[2])
    way = b'Agent-Route: "OUTER00001", "NEARER0001", agent;zone="z";host="10.0.0.2";port=2003\r\n'
    forward = decide(who, way)
    assert isinstance(forward, Forward)
    assert forward.target == ("peer", "fd00::9", 2002, "NEARER0001", b"\xab" * 32)
    assert forward.rewrite == (headers.TO_PEER, False, b"Via: 1.1 OUTER00001\r\n")


@pytest.mark.parametrize(
    ("hop", "error"),
    [(b"UNKNOWN001", BadRoute), (b"FARTHER001", BadRoute), (b"BARE000001", NotReady)],
)
def test_hop_that_is_no_nearer_peer_is_refused(hop: bytes, error: type[RelayError]) -> None:
    way = b'Agent-Route: "OUTER00001", "%b", agent;zone="z";host="10.0.0.2";port=2003\r\n' % hop
    with pytest.raises(error):
        decide(Caller("platform", "192.0.2.1", "-"), way)
