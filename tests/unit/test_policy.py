"""policy: PROTOCOL.md sections 1 to 4, rule by rule."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from proxy import headers, policy, route
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
from proxy.policy import Caller, Forward, Own, Surroundings, Target
from proxy.settings import Settings, parse

OWN = "45BCEBB32AA9"
SECRET = "0123456789abcdef0123456789abcdef"
PREVIOUS = "previous-previous-previous-previous"
CONFIGURATION = f"""
[proxy]
id = {OWN}
secret = {SECRET}
[upstream]
endpoint = 198.51.100.7:3302
[platform]
networks = 192.0.2.0/24, 2001:db8:1::/48
[agents]
networks = 10.0.0.0/8, fc00::/7
deny = 10.66.0.0/16, fd66::/16
ports = 2003, 2010
[peers]
[[PEERNEARER]]
role = nearer
endpoint = 10.9.0.1:2002
networks = 10.9.0.1/32
certificate = {"ab" * 32}
[[PEERFARTHER]]
role = farther
networks = 10.9.0.2/32
certificate = {"cd" * 32}
"""
LIMITS = HeadLimits(head_bytes=32768, fields=100, line_bytes=8192)


def settings_of(*changes: tuple[str, str]) -> Settings:
    text = CONFIGURATION
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return parse(text.splitlines())


SETTINGS = settings_of()
ZONE = SETTINGS.zones[0]
KEYS = policy.seal_keys(SETTINGS)
PLATFORM = Caller("platform", "192.0.2.1", "default")
AGENT = Caller("agent", "10.0.0.2", "default")


def nothing_around() -> Surroundings:
    return Surroundings(lambda address, _: False, frozenset())


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
    keys = policy.seal_keys(settings)
    known = policy.identity(settings, caller, keys) if caller.kind == "agent" else None
    return policy.decide(settings, caller, head, known, around, keys)


# Section 1: who is calling.


@pytest.mark.parametrize(
    ("source", "kind", "shown"),
    [
        ("192.0.2.1", "platform", "192.0.2.1"),
        ("2001:db8:1::5", "platform", "2001:db8:1::5"),
        ("::ffff:192.0.2.1", "platform", "192.0.2.1"),
        ("10.9.0.1", "peer", "10.9.0.1"),
        ("10.9.0.2", "peer", "10.9.0.2"),
        ("10.9.0.3", "agent", "10.9.0.3"),
        ("::ffff:10.0.0.2", "agent", "10.0.0.2"),
        ("fd00::2", "agent", "fd00::2"),
        ("198.51.100.7", "stranger", "198.51.100.7"),
        ("127.0.0.1", "stranger", "127.0.0.1"),
        ("::1", "stranger", "::1"),
        ("2001:db8:2::5", "stranger", "2001:db8:2::5"),
        # Whoever can send from these has not shown that the address inside is theirs.
        ("2002:c000:201::1", "stranger", "2002:c000:201::1"),
        ("64:ff9b::c000:201", "stranger", "64:ff9b::c000:201"),
        ("::192.0.2.1", "stranger", "::c000:201"),
    ],
)
def test_class_of_a_source(source: str, kind: str, shown: str) -> None:
    caller = policy.classify(SETTINGS, ipaddress.ip_address(source), ZONE)
    assert (caller.kind, caller.source, caller.zone) == (kind, shown, "default")
    assert (caller.peer is not None) == (kind == "peer")


def test_no_configuration_means_no_access() -> None:
    bare = parse([])
    for source in ("192.0.2.1", "127.0.0.1", "8.8.8.8"):
        assert policy.classify(bare, ipaddress.ip_address(source), bare.zones[0]).kind == "stranger"


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


def test_identity_of_an_agent() -> None:
    fields, by = policy.identity(SETTINGS, AGENT, KEYS)
    lines = fields.split(b"\r\n")
    assert lines[:3] == [
        b"Agent-Proxy-Id: 45BCEBB32AA9",
        b"Agent-Proxy-Zone: default",
        b"Agent-Proxy-Source: 10.0.0.2",
    ]
    name, _, value = lines[3].partition(b": ")
    assert name == b"Agent-Route"
    assert value.startswith(
        b'"45BCEBB32AA9", agent;zone="default";host="10.0.0.2";port=2003;seal=:'
    )
    assert lines[4:] == [b""]
    assert by == b"for=10.0.0.2;by=_45BCEBB32AA9"


def test_ipv6_source_is_quoted_in_forwarded() -> None:
    identity = policy.identity(SETTINGS, Caller("agent", "fd00::2", "default"), KEYS)
    assert identity.by == b'for="[fd00::2]";by=_45BCEBB32AA9'
    assert b'host="fd00::2"' in identity.fields


NO_SECRET = ((f"secret = {SECRET}", "secret ="), ("[platform]", "[platform]\nroutes = any"))


@pytest.mark.parametrize(
    ("changes", "missing"), [([(f"id = {OWN}", "id =")], "id"), (NO_SECRET, "secret")]
)
def test_agents_that_cannot_be_named_are_not_let_through(
    changes: list[tuple[str, str]], missing: str
) -> None:
    settings = settings_of(*changes)
    with pytest.raises(NotReady, match=rf"\[proxy\] {missing} is not set"):
        policy.identity(settings, AGENT, policy.seal_keys(settings))


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
    assert forward.rewrite.added == policy.identity(SETTINGS, AGENT, KEYS).fields + (
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


def refusals(
    host: str,
    port: int = 2003,
    *,
    zone: str = "default",
    settings: Settings = SETTINGS,
    around: Callable[[], Surroundings] = nothing_around,
) -> list[str]:
    """Return the rules that refuse a rightly sealed route to `host`."""
    seal = route.seal(KEYS[0], OWN, zone, host, port)
    hop = route.AgentHop(zone, host, port, seal)
    keys = policy.seal_keys(settings)
    return [
        decision.rule
        for decision in policy.destination(settings, hop, around(), keys)
        if not decision.allowed
    ]


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "agent.example.com", "10.0.0", "10.0.2", "167772162", "0x0a000002",
        "012.0.0.2",
        "10.0.0.02", "010.0.0.2", "10.0.0.2.", "10.0.0.2 ", "", "[fd00::2]", "FD00::2",
        "fd00:0::2", "fd00:0:0:0:0:0:0:2", "fd00::0002", "fd00::2%eth0", "fd00::2/64",
        "::FFFF:a00:2", "0:0:0:0:0:ffff:10.0.0.2", "::ffff:0a00:0002", "\u0661\u0660.0.0.2",
    ],
)  # fmt: skip
def test_rule_1_only_literals_in_canonical_form(host: str) -> None:
    """Nothing else is asked of what has no canonical form."""
    assert refusals(host) == ["1 address"]


EVERYWHERE = settings_of(
    ("networks = 10.0.0.0/8, fc00::/7", "networks = 0.0.0.0/1, 128.0.0.0/1, ::/1, 8000::/1"),
    ("[[PEERNEARER]]", "[[PEERNEARER2]]"),
    ("ports = 2003, 2010", "ports = 2003, 2010\nallow_loopback = yes"),
)


@pytest.mark.parametrize(
    "host",
    [
        # loopback, in every spelling
        "127.0.0.1", "127.0.0.2", "127.255.255.254", "127.0.0.0", "::1",
        "::ffff:7f00:1", "::ffff:7fff:fffe", "2002:7f00:1::", "64:ff9b::7f00:1",
        # unspecified
        "0.0.0.0", "0.0.0.1", "0.255.255.255", "::", "::ffff:0:0", "64:ff9b::", "2002::",
        # link-local and metadata
        "169.254.0.1", "169.254.169.254", "fe80::1", "febf::1", "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fd00:ec2::254", "100.100.100.200",
        "192.0.0.192", "::ffff:6464:64c8", "64:ff9b::6464:64c8",
        # multicast and broadcast
        "224.0.0.1", "239.255.255.255", "ff02::1", "::ffff:e000:1", "64:ff9b::e000:1",
        "255.255.255.255", "::ffff:ffff:ffff", "64:ff9b::ffff:ffff",
        # denied
        "10.66.0.1", "::ffff:a42:1", "64:ff9b::a42:1", "2002:a42:1::", "fd66::1",
    ],
)  # fmt: skip
def test_rule_2_never(host: str) -> None:
    assert "2 forbidden" in refusals(host)
    if not ipaddress.ip_address(policy.agent_target(hop_to(host)).host).is_loopback:
        assert refusals(host, settings=EVERYWHERE) == ["2 forbidden"], "whatever the networks are"


def hop_to(host: str) -> route.AgentHop:
    return route.AgentHop("default", host, 2003)


@pytest.mark.parametrize("host", ["10.0.0.9", "::ffff:a00:9", "64:ff9b::a00:9", "2002:a00:9::"])
def test_rule_2_neither_the_upstream_nor_this_machine(host: str) -> None:
    inside = ipaddress.ip_address("10.0.0.9")

    def upstream() -> Surroundings:
        return Surroundings(lambda address, _: False, frozenset({"10.0.0.9"}))

    def own() -> Surroundings:
        return Surroundings(lambda address, _: address == inside, frozenset())

    assert refusals(host) == []
    assert refusals(host, around=upstream) == ["2 forbidden"]
    assert refusals(host, around=own) == ["2 forbidden"]


def test_rule_2_loopback_for_demonstrations_even_if_it_is_our_own() -> None:
    demonstration = settings_of(
        ("networks = 10.0.0.0/8, fc00::/7", "networks = 127.0.1.0/24\nallow_loopback = yes")
    )

    def own() -> Surroundings:
        return Surroundings(lambda address: True, frozenset({"127.0.1.9"}))

    assert refusals("127.0.1.1", settings=demonstration, around=own) == []
    assert refusals("127.0.1.9", settings=demonstration, around=own) == ["2 forbidden"]
    assert refusals("127.0.2.1", settings=demonstration, around=own) == ["3 zone"]


@pytest.mark.parametrize(
    ("host", "port", "zone", "rules"),
    [
        ("10.0.0.2", 2003, "default", []),
        ("10.255.255.254", 2010, "default", []),
        ("fd00::2", 2003, "default", []),
        ("::ffff:a00:2", 2003, "default", []),
        ("11.0.0.1", 2003, "default", ["3 zone"]),
        ("8.8.8.8", 2003, "default", ["3 zone"]),
        ("172.16.0.1", 2003, "default", ["3 zone"]),
        ("2001:db8::1", 2003, "default", ["3 zone"]),
        ("::ffff:808:808", 2003, "default", ["3 zone"]),
        ("64:ff9b::808:808", 2003, "default", ["3 zone"]),
        ("::a00:2", 2003, "default", ["3 zone"]),
        ("10.0.0.2", 22, "default", ["3 port"]),
        ("10.0.0.2", 2002, "default", ["3 port"]),
        ("10.0.0.2", 2003, "Default", ["3 zone"]),
        ("10.0.0.2", 2003, "other", ["3 zone"]),
        ("10.0.0.2", 22, "other", ["3 zone", "3 port"]),
    ],
)
def test_rule_3_inside_the_zone_and_its_ports(
    host: str, port: int, zone: str, rules: list[str]
) -> None:
    assert refusals(host, port, zone=zone) == rules


def sealed(seal: bytes | None, settings: Settings) -> bool:
    hop = route.AgentHop("default", "10.0.0.2", 2003, seal)
    *_, last = policy.destination(settings, hop, nothing_around(), policy.seal_keys(settings))
    assert last.rule == "4 seal"
    return last.allowed


@pytest.mark.parametrize(
    ("seal", "strict", "lax"),
    [
        (route.seal(KEYS[0], OWN, "default", "10.0.0.2", 2003), True, True),
        (None, False, True),
        (b"\0" * 16, False, False),
        (route.seal(KEYS[0], "OTHERPROXY", "default", "10.0.0.2", 2003), False, False),
        (route.seal(KEYS[0], OWN, "other", "10.0.0.2", 2003), False, False),
        (route.seal(KEYS[0], OWN, "default", "10.0.0.3", 2003), False, False),
        (route.seal(KEYS[0], OWN, "default", "10.0.0.2", 2004), False, False),
        (route.seal(route.seal_key(b"x" * 32), OWN, "default", "10.0.0.2", 2003), False, False),
    ],
)
def test_rule_4_seal(seal: bytes | None, strict: bool, lax: bool) -> None:
    assert sealed(seal, SETTINGS) is strict
    assert sealed(seal, settings_of(("[platform]", "[platform]\nroutes = any"))) is lax


def test_rule_4_seal_of_the_previous_secret_still_counts() -> None:
    both = settings_of((f"secret = {SECRET}", f"secret = {SECRET}\nprevious_secret = {PREVIOUS}"))
    old = route.seal(route.seal_key(PREVIOUS.encode()), OWN, "default", "10.0.0.2", 2003)
    assert sealed(old, both)
    assert not sealed(old, SETTINGS)
    assert len(policy.seal_keys(both)) == 2
    minted = policy.identity(both, AGENT, policy.seal_keys(both)).fields
    assert minted == policy.identity(SETTINGS, AGENT, KEYS).fields, "minted with the new one"


def test_rule_4_without_a_secret_no_seal_is_right() -> None:
    none = settings_of(*NO_SECRET)
    assert policy.seal_keys(none) == ()
    assert not sealed(route.seal(KEYS[0], OWN, "default", "10.0.0.2", 2003), none)


def test_refusal_names_the_rule_and_the_reason() -> None:
    value = route.mint(OWN, "default", "169.254.169.254", 2003, KEYS[0])
    with pytest.raises(Forbidden, match="2 forbidden: 169.254.169.254 is link-local") as caught:
        decide(routed(value))
    assert caught.value.token == "destination_ip_prohibited"


@pytest.mark.parametrize(
    ("host", "dialled"),
    [
        ("10.0.0.2", "10.0.0.2"),
        ("fd00::2", "fd00::2"),
        ("::ffff:a00:2", "10.0.0.2"),
        ("64:ff9b::a00:2", "10.0.0.2"),
        ("2002:a00:2::", "10.0.0.2"),
    ],
)
def test_dialled_is_the_address_that_was_judged(host: str, dialled: str) -> None:
    assert policy.agent_target(hop_to(host)).host == dialled


def test_surroundings_are_asked_for_routed_calls_only() -> None:
    def never() -> Surroundings:
        raise AssertionError("asked")

    decide(request(), AGENT, around=never)
    decide(request(first=b"GET /agent-proxy/v1/ready HTTP/1.1"), around=never)
