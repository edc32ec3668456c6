"""policy: PROTOCOL.md sections 1 to 4, rule by rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy import headers, policy, route
from proxy.callers import Caller, identity, seal_keys
from proxy.destinations import Surroundings, Target
from proxy.errors import (
    BadMessage,
    BadRoute,
    Forbidden,
    LoopDetected,
    Misdirected,
    NotReady,
    RelayError,
)
from proxy.heads import HeadLimits, RequestHead, parse_request
from proxy.policy import Forward, Own
from proxy.settings import Settings
from tests.unit.example import KEYS, OWN, SETTINGS, nothing_around, settings_of

LIMITS = HeadLimits(head_bytes=32768, fields=100, line_bytes=8192)
PLATFORM = Caller("platform", "192.0.2.1", "default")
AGENT = Caller("agent", "10.0.0.2", "default")


def request(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> RequestHead:
    return parse_request(b"\r\n".join((first, b"Host: a:2002", *lines)) + b"\r\n", LIMITS)


def routed(value: bytes) -> RequestHead:
    return request(b"Agent-Route: " + value)


def decide(
    head: RequestHead,
    caller: Caller = PLATFORM,
    settings: Settings = SETTINGS,
    around: Callable[[], Surroundings] = nothing_around,
) -> Forward | Own:
    keys = seal_keys(settings)
    known = identity(settings, caller, keys) if caller.kind == "agent" else None
    return policy.decide(settings, caller, head, known, around, keys)


@pytest.mark.parametrize(
    "caller",
    [
        Caller("stranger", "198.51.100.7", "default"),
        Caller("peer", "10.9.0.1", "default", SETTINGS.peers[0]),
        Caller("peer", "10.9.0.1", "default", None),
        Caller("unheard-of", "10.0.0.2", "default"),  # type: ignore[arg-type]
    ],
)
def test_whoever_is_not_expressly_allowed_is_refused(caller: Caller) -> None:
    with pytest.raises(Forbidden):
        decide(routed(route.mint(OWN, "default", "10.0.0.2", 2003, KEYS[0])), caller)


def test_agent_without_an_identity_is_refused() -> None:
    with pytest.raises(Forbidden):
        policy.decide(SETTINGS, AGENT, request(), None, nothing_around, KEYS)


# Section 2: up.


@pytest.mark.parametrize(
    "target", [b"/", b"/agent-proxy/v1/registration", b"/agent-proxy/v1/ready"]
)
def test_agents_request_goes_to_the_platform_whatever_it_says(target: bytes) -> None:
    head = request(
        b"Agent-Route: " + route.mint(OWN, "default", "10.0.0.3", 2003, KEYS[0]),
        first=b"GET " + target + b" HTTP/1.1",
    )
    forward = decide(head, AGENT)
    assert isinstance(forward, Forward)
    assert forward.target == Target("platform")
    assert (forward.rewrite.strip, forward.rewrite.keep_host) == (headers.FROM_AGENT, False)
    assert forward.rewrite.added == identity(SETTINGS, AGENT, KEYS).fields + (
        b'Forwarded: for=10.0.0.2;by=_45BCEBB32AA9;host="a:2002";proto=https\r\n'
        b"Via: 1.1 45BCEBB32AA9\r\n"
    )


def test_request_without_host_says_none() -> None:
    head = parse_request(b"GET / HTTP/1.0\r\n", LIMITS)
    preserve = settings_of(("[upstream]", "[upstream]\nhost = preserve"))
    forward = decide(head, AGENT, preserve)
    assert isinstance(forward, Forward)
    assert forward.rewrite.added.endswith(
        b"Forwarded: for=10.0.0.2;by=_45BCEBB32AA9;proto=https\r\nVia: 1.0 45BCEBB32AA9\r\n"
    )
    assert not forward.rewrite.keep_host
    forward = decide(request(), AGENT, preserve)
    assert isinstance(forward, Forward)
    assert forward.rewrite.keep_host


@pytest.mark.parametrize(
    ("via", "loops"),
    [
        (b"1.1 45BCEBB32AA9", True),
        (b"1.1 other, 1.1 45BCEBB32AA9 (comment)", True),
        (b"1.1 other,1.0 45BCEBB32AA9", True),
        (b"HTTP/1.1 45BCEBB32AA9", True),
        (b"1.1 45BCEBB32AA", False),
        (b"1.1 other (45BCEBB32AA9)", False),
        (b"1.1 45bcebb32aa9", False),
        (b",,", False),
        (b"", False),
        (b"45BCEBB32AA9", False),
        (b"1.1 \xff", False),
    ],
)
@pytest.mark.parametrize("caller", [AGENT, PLATFORM])
def test_request_that_passed_here_before(caller: Caller, via: bytes, loops: bool) -> None:
    good = route.mint(OWN, "default", "10.0.0.2", 2003, KEYS[0])
    head = request(b"VIA: 1.1 a", b"via: " + via, b"Agent-Route: " + good)
    if loops:
        with pytest.raises(LoopDetected):
            decide(head, caller)
    else:
        assert isinstance(decide(head, caller), Forward)


def test_no_id_no_loop() -> None:
    settings = settings_of((f"id = {OWN}", "id ="))
    with pytest.raises(NotReady):  # and not LoopDetected
        decide(request(b"Via: 1.1 ", b"Agent-Route: agent"), settings=settings)


# Section 4: calls to the proxy itself.


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b"GET /agent-proxy/v1/registration HTTP/1.1", "registration"),
        (b"GET /agent-proxy/v1/registration?x=y HTTP/1.1", "registration"),
        (b"HEAD /agent-proxy/v1/registration HTTP/1.1", "registration"),
        (b"GET /agent-proxy/v1/ready HTTP/1.1", "ready"),
        (b"GET /agent-proxy/v1/explain HTTP/1.1", "explain"),
    ],
)
def test_platforms_call_to_the_proxy_itself(first: bytes, name: str) -> None:
    assert decide(request(first=first)) == Own(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "first",
    [
        b"POST /agent-proxy/v1/registration HTTP/1.1",
        b"DELETE /agent-proxy/v1/ready HTTP/1.1",
        b"HEAD /agent-proxy/v1/explain HTTP/1.1",
        b"GET /agent-proxy/v1/other HTTP/1.1",
        b"GET /agent-proxy/v1/registration/ HTTP/1.1",
        b"GET /AGENT-PROXY/v1/registration HTTP/1.1",
        b"GET / HTTP/1.1",
    ],
)
def test_other_calls_without_a_route_are_refused(first: bytes) -> None:
    with pytest.raises(BadMessage):
        decide(request(first=first))


def test_peer_makes_routed_calls_but_asks_nothing_of_the_proxy() -> None:
    peer = Caller("peer", "10.9.0.2", "default", SETTINGS.peers[1])
    assert peer.peer is not None and peer.peer.role == "farther"
    good = route.mint(OWN, "default", "10.0.0.2", 2003, KEYS[0])
    assert isinstance(decide(routed(good), peer), Forward)
    with pytest.raises(BadMessage):
        decide(request(first=b"GET /agent-proxy/v1/registration HTTP/1.1"), peer)


# Section 3: down.


def test_sealed_route_is_followed() -> None:
    pin = b";fp=:" + b"q" * 42 + b"o=:"
    forward = decide(routed(route.mint(OWN, "default", "10.0.0.2", 2003, KEYS[0]) + pin))
    assert isinstance(forward, Forward)
    assert forward.target[:4] == ("agent", "10.0.0.2", 2003, "default")
    assert forward.target.fingerprint is not None
    assert forward.rewrite == (headers.TO_AGENT, False, b"")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([b"nonsense"], BadRoute),
        ([b""], BadRoute),
        ([b'"OTHER"'], BadRoute),
        ([b'"OTHER", agent;zone="default";host="10.0.0.2";port=2003'], Misdirected),
        ([b'agent;zone="default";host="10.0.0.2";port=2003'], Misdirected),
        (
            [b'"45BCEBB32AA9", "45BCEBB32AA9", agent;zone="default";host="10.0.0.2";port=2003'],
            BadRoute,
        ),
        ([b'"45BCEBB32AA9", "NEXT", agent;zone="default";host="10.0.0.2";port=2003'], BadRoute),
        ([b'"45BCEBB32AA9", agent;zone="default";host="10.0.0.2";port=2003;x=1'], BadRoute),
        (
            [b'"AAAA", "BBBB", "CCCC", "DDDD", "45BCEBB32AA9", agent;zone="d";host="1";port=1'],
            BadRoute,
        ),
        ([b'"45BCEBB32AA9", agent;zone="default";host="10.0.0.2";port=2003'] * 2, BadRoute),
    ],
)
def test_route_that_leads_nowhere(values: list[bytes], error: type[RelayError]) -> None:
    with pytest.raises(error) as caught:
        decide(request(*(b"Agent-Route: " + value for value in values)))
    assert type(caught.value) is error


def test_refusal_names_the_rule_and_the_reason() -> None:
    value = route.mint(OWN, "default", "169.254.169.254", 2003, KEYS[0])
    with pytest.raises(Forbidden, match="2 forbidden: 169.254.169.254 is link-local") as caught:
        decide(routed(value))
    assert caught.value.token == "destination_ip_prohibited"


def test_surroundings_are_asked_for_routed_calls_only() -> None:
    def never() -> Surroundings:
        raise AssertionError("asked")

    decide(request(), AGENT, around=never)
    decide(request(first=b"GET /agent-proxy/v1/ready HTTP/1.1"), around=never)
