"""The Agent-Route codec: the corpus replayed, tables of what must hold, and round trips."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy import route
from proxy.errors import BadRoute, Misdirected, RelayError
from proxy.route import AgentHop, Route

CORPUS = Path(__file__).parents[1] / "corpus" / "routes"

OWN = "45BCEBB32AA9"
SECRET = b"x" * 32
# Both reckoned with `openssl dgst -mac HMAC`, not with the code under test.
KEY = bytes.fromhex("c0990162c41d7b37f32f4c5673bbe111a16fe8fe97932da6981591ecf08c50f8")
SEAL = base64.b64decode("7iVj2lcmyJPmxNsSbDpkog==")
MINTED = (
    b'"45BCEBB32AA9", agent;zone="isolated-1";host="10.0.0.2";port=2003;'
    b"seal=:7iVj2lcmyJPmxNsSbDpkog==:"
)
HOP = AgentHop("isolated-1", "10.0.0.2", 2003, SEAL)


# The corpus: the first line says what is expected, the rest is the field value.


def _corpus(kind: str) -> list[Path]:
    files = sorted((CORPUS / kind).glob("*.txt"))
    assert files, f"no corpus in {CORPUS / kind}"
    return files


def _expectation_and_value(file: Path) -> tuple[str, bytes]:
    first, _, rest = file.read_bytes().partition(b"\n")
    return first.decode().removeprefix("# "), rest.removesuffix(b"\n")


def _shown(hop: str | AgentHop) -> str:
    if isinstance(hop, str):
        return hop
    words = ["agent", hop.zone, hop.host, str(hop.port)]
    words += ["sealed"] if hop.seal is not None else []
    words += ["pinned"] if hop.fingerprint is not None else []
    return " ".join(words)


@pytest.mark.parametrize("file", _corpus("valid"), ids=lambda file: file.stem)
def test_valid_route_of_the_corpus(file: Path) -> None:
    """`# OWN-ID -> next hop`."""
    expectation, value = _expectation_and_value(file)
    own_id, _, expected = expectation.partition(" -> ")
    read = route.parse(value)
    assert _shown(route.next_hop(read, own_id)) == expected
    assert route.parse(route.serialize(read)) == read


@pytest.mark.parametrize("file", _corpus("invalid"), ids=lambda file: file.stem)
def test_invalid_route_of_the_corpus(file: Path) -> None:
    """`# STATUS OWN-ID part of the reason`."""
    expectation, value = _expectation_and_value(file)
    status, own_id, reason = expectation.split(" ", 2)
    with pytest.raises((BadRoute, Misdirected)) as caught:
        route.next_hop(route.parse(value), own_id)
    assert caught.value.status == int(status)
    assert reason in caught.value.detail


@pytest.mark.parametrize("file", _corpus("valid"), ids=lambda file: file.stem)
def test_a_route_cut_short_is_never_read_as_the_whole(file: Path) -> None:
    """Only at a parameter's end can a shorter route be a route, and then it lacks what was cut."""
    _, value = _expectation_and_value(file)
    whole = route.parse(value)
    for end in range(len(value)):
        try:
            shorter = route.parse(value[:end])
        except BadRoute:
            continue
        assert shorter != whole


@pytest.mark.parametrize("file", _corpus("invalid"), ids=lambda file: file.stem)
def test_nothing_is_put_in_front_of_a_malformed_route(file: Path) -> None:
    """Only what names other proxies (421) is well formed, and travels on."""
    expectation, value = _expectation_and_value(file)
    if expectation.startswith("421"):
        assert route.prepend(OWN, value).endswith(value)
    else:
        with pytest.raises(BadRoute):
            route.prepend(OWN, value)


# Reading and writing.


def test_parse_returns_every_part() -> None:
    fingerprint = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert route.parse(
        b'"7C01D22A90EE", ' + MINTED + b";fp=:" + fingerprint.encode() + b":"
    ) == Route(
        ("7C01D22A90EE", OWN),
        AgentHop("isolated-1", "10.0.0.2", 2003, SEAL, bytes(range(32))),
    )


def test_serialize_writes_the_form_of_the_protocol() -> None:
    assert route.serialize(Route((OWN,), HOP)) == MINTED
    assert route.serialize(Route((), AgentHop("z", "fd00::2", 1, None, bytes(32)))) == (
        b'agent;zone="z";host="fd00::2";port=1;fp=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:'
    )


@pytest.mark.parametrize(
    ("ids", "hop"),
    [
        (('45BC", "EFGH',), HOP),
        (("45BCé",), HOP),
        (("45BC\udc80",), HOP),
        (("no",), HOP),
        (("id-1", "id-2", "id-3", "id-4", "id-5"), HOP),
        ((OWN,), AgentHop('z";host="10.0.0.3', "10.0.0.2", 2003)),
        ((OWN,), AgentHop("z", '10.0.0.3";port=22;zone="y', 2003)),
        ((OWN,), AgentHop("z", "10.0.0.2\r\nX: y", 2003)),
        ((OWN,), AgentHop("z", "10.0.0.2", 0)),
        ((OWN,), AgentHop("z", "10.0.0.2", 65536)),
        ((OWN,), AgentHop("z", "10.0.0.2", 2003, b"short")),
        ((OWN,), AgentHop("z", "10.0.0.2", 2003, None, b"short")),
        ((OWN,), AgentHop("z", "10.0.0.2", 2003, b"")),
    ],
)
def test_serialize_refuses_what_could_not_be_read_again(
    ids: tuple[str, ...], hop: AgentHop
) -> None:
    with pytest.raises(BadRoute):
        route.serialize(Route(ids, hop))


def test_the_longest_route_allowed_is_read_and_one_byte_more_is_not() -> None:
    spaces = route.MAX_BYTES - len('"45BCEBB32AA9", agent;zone="z";host="h";port=1')
    value = b'"45BCEBB32AA9",' + b" " * (spaces + 1) + b'agent;zone="z";host="h";port=1'
    assert len(value) == 2048
    assert route.parse(value).ids == (OWN,)
    with pytest.raises(BadRoute, match="2049 bytes long; at most 2048"):
        route.parse(value.replace(b", ", b",  ", 1))


@pytest.mark.parametrize(
    "value",
    [
        b'"' * 5000,
        b'"aaaa",' * 290,
        b'"' + b"a" * 5000,
        b'"aaaa"' + b" \t" * 1000 + b"x",
        b"agent" + b";a=0" * 500,
        b"agent;zone=:" + b"A" * 2000,
        b"agent;" + b" " * 2000,
    ],
)
def test_hostile_values_are_refused_with_a_short_text(value: bytes) -> None:
    with pytest.raises(BadRoute) as caught:
        route.parse(value)
    assert len(caught.value.detail) < 200


def test_the_text_of_a_refusal_never_repeats_a_seal() -> None:
    for wrong in (
        MINTED[:-1],
        MINTED.replace(b"==:", b"=:"),
        MINTED.replace(b"g==:", b"h==:"),
        MINTED + b";seal=:7iVj2lcmyJPmxNsSbDpkog==:",
    ):
        with pytest.raises(BadRoute) as caught:
            route.parse(wrong)
        assert "7iVj2lc" not in caught.value.detail


# Our own place.


@pytest.mark.parametrize(
    ("ids", "own_id", "expected"),
    [
        (("id-1",), "id-1", HOP),
        (("id-1", "id-2"), "id-1", "id-2"),
        (("id-1", "id-2"), "id-2", HOP),
        (("id-1", "id-2", "id-3"), "id-2", "id-3"),
    ],
)
def test_next_hop_is_the_member_after_our_id(
    ids: tuple[str, ...], own_id: str, expected: str | AgentHop
) -> None:
    assert route.next_hop(Route(ids, HOP), own_id) == expected


@pytest.mark.parametrize(
    ("ids", "own_id", "error"),
    [
        ((), "id-1", Misdirected),
        (("id-1",), "id-2", Misdirected),
        (("id-1",), "", Misdirected),
        (("id-1",), "agent", Misdirected),
        (("id-1", "id-1"), "id-1", BadRoute),
        (("id-1", "id-2", "id-1"), "id-1", BadRoute),
    ],
)
def test_next_hop_refuses_a_route_in_which_we_are_not_exactly_once(
    ids: tuple[str, ...], own_id: str, error: type[RelayError]
) -> None:
    with pytest.raises(error):
        route.next_hop(Route(ids, HOP), own_id)


# Seals.


def test_seal_is_the_hmac_of_the_protocol() -> None:
    assert route.seal_key(SECRET) == KEY
    assert route.seal(KEY, OWN, "isolated-1", "10.0.0.2", 2003) == SEAL
    message = b"12:45BCEBB32AA9,10:isolated-1,8:10.0.0.2,4:2003,"
    assert hmac.digest(KEY, message, hashlib.sha256)[:16] == SEAL


def test_no_key_is_made_of_an_empty_secret() -> None:
    with pytest.raises(ValueError, match="secret"):
        route.seal_key(b"")


def test_mint_writes_a_route_whose_seal_is_right() -> None:
    assert route.mint(OWN, "isolated-1", "10.0.0.2", 2003, KEY) == MINTED
    assert route.seal_is_right(route.parse(MINTED).agent, OWN, (KEY,))


def test_mint_refuses_an_address_that_would_break_out() -> None:
    with pytest.raises(BadRoute):
        route.mint(OWN, "isolated-1", "fe80::1%eth0", 2003, KEY)


@pytest.mark.parametrize(
    ("hop", "own_id", "keys", "right"),
    [
        (HOP, OWN, (KEY,), True),
        (HOP, OWN, (b"other", KEY), True),
        (HOP, OWN, (KEY, b"other"), True),
        (HOP, OWN, (b"other",), False),
        (HOP, OWN, (), False),
        (HOP, "45BCEBB32AA8", (KEY,), False),
        (AgentHop("isolated-2", "10.0.0.2", 2003, SEAL), OWN, (KEY,), False),
        (AgentHop("isolated-1", "10.0.0.3", 2003, SEAL), OWN, (KEY,), False),
        (AgentHop("isolated-1", "10.0.0.2", 2004, SEAL), OWN, (KEY,), False),
        (AgentHop("isolated-1", "10.0.0.2", 2003, SEAL[:15] + b"\x00"), OWN, (KEY,), False),
        (AgentHop("isolated-1", "10.0.0.2", 2003, SEAL[:15]), OWN, (KEY,), False),
        (AgentHop("isolated-1", "10.0.0.2", 2003, b""), OWN, (KEY,), False),
        (AgentHop("isolated-1", "10.0.0.2", 2003, None), OWN, (KEY,), False),
        (AgentHop("isolated-1", "10.0.0.2", 2003, SEAL, bytes(32)), OWN, (KEY,), True),
    ],
)
def test_seal_is_right_only_for_what_was_sealed(
    hop: AgentHop, own_id: str, keys: tuple[bytes, ...], right: bool
) -> None:
    assert route.seal_is_right(hop, own_id, keys) is right


def test_a_seal_with_any_one_bit_flipped_is_wrong() -> None:
    for bit in range(128):
        flipped = (int.from_bytes(SEAL, "big") ^ 1 << bit).to_bytes(16, "big")
        assert not route.seal_is_right(
            AgentHop("isolated-1", "10.0.0.2", 2003, flipped), OWN, (KEY,)
        )


# Chains.


def test_prepend_puts_our_id_in_front_and_leaves_the_rest_alone() -> None:
    value = b'"45BCEBB32AA9",agent; port=2003;host="10.0.0.2";zone="z"'
    assert route.prepend("7C01D22A90EE", value) == b'"7C01D22A90EE", ' + value


@pytest.mark.parametrize(
    ("own_id", "value", "reason"),
    [
        (OWN, MINTED, "names 45BCEBB32AA9 already: a loop"),
        ('a", "b', MINTED, "no proxy ID"),
        ("", MINTED, "no proxy ID"),
        (
            OWN,
            b'"id-1", "id-2", "id-3", "id-4", agent;zone="z";host="h";port=1',
            "names 4 proxies already",
        ),
        (OWN, b'agent;zone="z"; ' + b" " * 2005 + b'host="h";port=1', "would be 2052 bytes long"),
        (OWN, b"", "at character 1"),
    ],
)
def test_prepend_refuses(own_id: str, value: bytes, reason: str) -> None:
    with pytest.raises(BadRoute) as caught:
        route.prepend(own_id, value)
    assert reason in caught.value.detail


# Properties.

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{3,63}", fullmatch=True)
ZONES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
HOSTS = st.ip_addresses().map(str)
HOPS = st.builds(
    AgentHop,
    ZONES,
    HOSTS,
    st.integers(1, 65535),
    st.none() | st.binary(min_size=16, max_size=16),
    st.none() | st.binary(min_size=32, max_size=32),
)
ROUTES = st.builds(Route, st.lists(IDS, max_size=4).map(tuple), HOPS)


@given(ROUTES)
def test_what_was_written_is_read_again(written: Route) -> None:
    wire = route.serialize(written)
    assert len(wire) <= route.MAX_BYTES
    assert route.parse(wire) == written


@given(IDS, ZONES, HOSTS, st.integers(1, 65535), st.binary(min_size=1))
def test_what_was_minted_comes_back_to_the_same_agent(
    own_id: str, zone: str, host: str, port: int, secret: bytes
) -> None:
    key = route.seal_key(secret)
    hop = route.next_hop(route.parse(route.mint(own_id, zone, host, port, key)), own_id)
    assert isinstance(hop, AgentHop)
    assert (hop.zone, hop.host, hop.port, hop.fingerprint) == (zone, host, port, None)
    assert route.seal_is_right(hop, own_id, (key,))
    assert not route.seal_is_right(hop, own_id, (route.seal_key(secret + b"!"),))


@given(st.lists(IDS, min_size=2, max_size=4, unique=True), HOPS)
def test_a_chain_leads_back_through_every_proxy_to_the_agent(ids: list[str], hop: AgentHop) -> None:
    value = route.serialize(Route((ids[-1],), hop))
    for own_id in reversed(ids[:-1]):
        value = route.prepend(own_id, value)
    read = route.parse(value)
    assert [route.next_hop(read, own_id) for own_id in ids] == [*ids[1:], hop]


SEAL_PARTS = st.tuples(st.text(), st.text(), st.text(), st.integers())


@given(SEAL_PARTS, SEAL_PARTS)
@example(("ab", "c", "d", 1), ("a", "bc", "d", 1))
@example(("a,1:b", "c", "d", 1), ("a", "b,1:c", "d", 1))
@example(("a", "b", "\udc80", 1), ("a", "b", "?", 1))
def test_different_parts_have_different_seals(
    one: tuple[str, str, str, int], other: tuple[str, str, str, int]
) -> None:
    assert (route.seal(KEY, *one) == route.seal(KEY, *other)) is (one == other)


@given(
    st.binary(max_size=200)
    | st.text('"agentzohspr;=:, \t\\012AB', max_size=80).map(str.encode)
    | st.builds(
        lambda at, put: MINTED[:at] + put + MINTED[at + 1 :],
        st.integers(0, len(MINTED)),
        st.binary(max_size=3),
    )
)
def test_any_bytes_are_read_or_refused_and_nothing_else(value: bytes) -> None:
    try:
        read = route.parse(value)
    except BadRoute:
        return
    assert route.parse(route.serialize(read)) == read
