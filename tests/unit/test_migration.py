"""migration: an agentproxy.properties of the old Java proxy becomes a proxy.ini."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.migration import Migration, migrate
from proxy.settings import Endpoint, Settings, parse

TYPICAL = """\
# Agent proxy configuration
upstreamHostPort=provisioning.example.com:3302
agentProxyId=45BCEBB32AA9
disableUpstreamValidation=false
"""


def carried(text: str) -> Settings:
    """Read back what was written: it must always be valid."""
    return parse(migrate(text).ini.splitlines(keepends=True))


def about(result: Migration, key: str) -> str:
    (note,) = [one for one in result.notes if one.startswith(key)]
    return note


def test_a_typical_file_is_carried_over() -> None:
    result = carried(TYPICAL)
    assert result.proxy.id == "45BCEBB32AA9"
    assert result.upstream.endpoints == (Endpoint("provisioning.example.com", 3302),)
    assert result.upstream.verify is True
    assert migrate(TYPICAL).ini == (
        "# Written by `agent-proxy migrate` from the old proxy's agentproxy.properties.\n"
        "# What is not here has its default; conf/proxy.ini as shipped explains every setting.\n"
        "\n[proxy]\nid = 45BCEBB32AA9\n"
        "# 32 random characters or more, the same on all nodes of the group:\n"
        "# secret_file = var/secret\n"
        "\n[upstream]\nendpoint = provisioning.example.com:3302\nverify = yes\n"
        "\n[platform]\n# From where the platform calls; nobody else may:\n"
        "# networks = 192.0.2.0/24\n"
    )


def test_what_must_be_done_by_hand_is_said() -> None:
    notes = migrate(TYPICAL).notes
    assert [one.split(" must be")[0] for one in notes[:2]] == [
        "[platform] networks",
        "[proxy] secret_file",
    ]
    assert "min_tls = 1.0" in notes[2] and len(notes) == 3


def test_an_empty_file_means_the_old_defaults() -> None:
    result = migrate("")
    assert carried("").upstream.endpoints == (Endpoint("provisioning.enstratus.com", 3302),)
    assert "Check that this platform" in about(result, "upstreamHostPort was not set")
    assert "register" in about(result, "No usable agentProxyId")


@pytest.mark.parametrize(
    "line",
    [
        "agentProxyId=45BCEBB32AA9",
        "  agentProxyId : 45BCEBB32AA9  ",
        "agentProxyId 45BCEBB32AA9",
        "AgentProxyID\t=\t45BCEBB32AA9",
        "agentProxyId=45BC\\\n    EBB32AA9",
        "agentProxyId=45BC\\\r\n    EBB32AA9\r\n",
        "agentProxyId=\\u0034\\u0035BCEBB32AA9",
        "agent\\u0050roxyId=45BCEBB32\\AA9",
        "!agentProxyId=no\n#agentProxyId=no\n\nagentProxyId=45BCEBB32AA9\\",
        "\ufeffagentProxyId=45BCEBB32AA9",
    ],
)
def test_lines_are_read_as_java_reads_them(line: str) -> None:
    assert carried(line).proxy.id == "45BCEBB32AA9"


def test_the_last_of_two_equal_keys_counts_and_that_is_said() -> None:
    text = "agentProxyId=AAAA\nagentProxyId=BBBB\n"
    assert carried(text).proxy.id == "BBBB"
    assert "the last one counted" in about(migrate(text), "agentProxyId")


def test_two_keys_for_one_setting_are_said() -> None:
    text = "port=2012\nlistenPort=2013\n"
    assert carried(text).listen.port == 2012
    assert "[listen] port" in about(migrate(text), "listenPort was not used")


def test_a_platform_without_a_port_gets_its_own() -> None:
    text = "upstreamHostPort=https://provisioning.example.com/"
    assert carried(text).upstream.endpoints == (Endpoint("provisioning.example.com", 3302),)
    assert "3302, was added" in about(migrate(text), "upstreamHostPort")


@pytest.mark.parametrize("value", ["fd00::1:3302", "host:0", "a b:3302"])
def test_a_platform_that_is_no_address_is_said_and_no_default_taken(value: str) -> None:
    text = f"upstreamHostPort={value}\n"
    assert carried(text).upstream.endpoints == ()
    note = about(migrate(text), "upstreamHostPort")
    assert "was not carried over" in note and "[upstream] endpoint" in note


def test_a_platform_left_empty_stays_empty() -> None:
    assert carried("upstreamHostPort=\n").upstream.endpoints == ()


@pytest.mark.parametrize(
    ("value", "verify", "note"),
    [
        ("true", False, "is not checked"),
        ("TRUE", False, "is not checked"),
        ("false", True, ""),
        ("", True, ""),
        ("yes", True, "neither true nor false"),
    ],
)
def test_disabled_validation_is_carried_over_loudly(value: str, verify: bool, note: str) -> None:
    text = f"disableUpstreamValidation={value}\n"
    assert carried(text).upstream.verify is verify
    said = [one for one in migrate(text).notes if one.startswith("disableUpstream")]
    assert len(said) == bool(note) and note in "".join(said)


def test_port_and_address_are_carried_over() -> None:
    result = carried("port=2012\nbindAddress=10.1.2.3\n")
    assert result.listen.port == 2012 and result.listen.addresses == ("10.1.2.3",)


@pytest.mark.parametrize("value", ["", "*"])
def test_every_address_is_the_default(value: str) -> None:
    assert carried(f"bindAddress={value}\n").listen.addresses == ("0.0.0.0",)


def test_the_admin_pages_make_way_for_the_old_port() -> None:
    result = carried("port=2004\n")
    assert (result.listen.port, result.admin.port) == (2004, 2005)
    assert "was set to 2005" in about(migrate("port=2004\n"), "port")


@pytest.mark.parametrize(
    ("line", "field", "seconds"),
    [
        ("connectTimeout=2500", "connect", 2.5),
        ("connectTimeout=3s", "connect", 3.0),
        ("upstreamTimeout=2 min", "upstream_answer", 120.0),
        ("agentTimeout=600000ms", "agent_answer", 600.0),
        ("idleTimeout=60 seconds", "keepalive_in", 60.0),
    ],
)
def test_times_are_carried_over_as_seconds(line: str, field: str, seconds: float) -> None:
    assert getattr(carried(line).timeouts, field) == seconds


def test_a_time_without_a_unit_was_milliseconds_and_that_is_said() -> None:
    note = about(migrate("connectTimeout=2500"), "connectTimeout")
    assert note == "connectTimeout was read as milliseconds: [timeouts] connect = 2.5 s."


@pytest.mark.parametrize("value", ["soon", "0", "9999999", "-1"])
def test_a_time_that_cannot_be_is_said(value: str) -> None:
    text = f"connectTimeout={value}\n"
    assert carried(text).timeouts.connect == 5.0
    assert "was not carried over" in about(migrate(text), "connectTimeout")


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("keyStore=/etc/proxy.jks", "PEM files"),
        ("keyStorePassword=hunter2", "PEM files"),
        ("private.key=hunter2", "PEM files"),
        ("certificateFile=x.crt", "PEM files"),
        ("someTimeout=7", "See [timeouts]"),
        ("logLevel=INFO", "see [log]"),
        ("maxThreads=200", "nothing like it"),
    ],
)
def test_what_cannot_be_carried_over_is_named(line: str, remedy: str) -> None:
    note = about(migrate(line), line.partition("=")[0])
    assert "was not carried over" in note and remedy in note


@pytest.mark.parametrize(
    "key", ["keyStorePassword", "authToken", "sharedSecret", "encryptionKey", "db.pwd", "passwd"]
)
def test_notes_and_file_never_contain_what_may_be_a_secret(key: str) -> None:
    result = migrate(f"{key}=hunter2\n{key}=hunter2\n")
    assert "hunter2" not in "\n".join([result.ini, *result.notes])


def test_control_characters_reach_neither_notes_nor_file() -> None:
    result = migrate("maxThreads=\\u001b[2J\nagentProxyId=AB\\nCD\\tE\\\\F\n")
    assert "\x1b" not in "".join(result.notes)
    assert "id = " not in result.ini and "?[2J" in about(result, "maxThreads")


@given(st.text(max_size=200))
def test_any_text_gives_a_valid_file(text: str) -> None:
    parse(migrate(text).ini.splitlines(keepends=True))


_KEYS = st.sampled_from(["upstreamHostPort", "agentProxyId", "port", "host", "connectTimeout"])


@given(_KEYS, st.text(max_size=40) | st.from_regex(r"[0-9a-f:.%#, ]{0,12}", fullmatch=True))
def test_any_value_gives_a_valid_file(key: str, value: str) -> None:
    parse(migrate(f"{key}={value}").ini.splitlines(keepends=True))
