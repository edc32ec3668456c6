"""Answers in all the forms they come in; bad ones are refused with the place and the remedy."""

from __future__ import annotations

import pytest

from appliance import answers_file
from appliance.errors import Problems

_USER_DATA = b"""#cloud-config
users: [default]
agent-proxy:
  hostname: proxy-1
  network: {interface: eth0, address: 10.1.2.3/24, gateway4: 10.1.2.1, dns: [10.1.2.53, 10.1.2.54]}
  proxy.id: 45BCEBB32AA9
  upstream:
    endpoint: provisioning.example.com:3302
  listen:
    min_tls: 1.0
  log:
    access: no
  zones:
    isolated-1: {interface: eth1}
"""


def test_user_data_is_flattened_and_stays_text() -> None:
    assert answers_file.from_user_data(_USER_DATA, "user-data") == {
        "hostname": "proxy-1",
        "network.interface": "eth0",
        "network.address": "10.1.2.3/24",
        "network.gateway4": "10.1.2.1",
        "network.dns": "10.1.2.53, 10.1.2.54",
        "proxy.id": "45BCEBB32AA9",
        "upstream.endpoint": "provisioning.example.com:3302",
        "listen.min_tls": "1.0",
        "log.access": "no",
        "zones.isolated-1.interface": "eth1",
    }


def test_json_is_yaml() -> None:
    content = (
        b'{"agent-proxy": {"proxy": {"id": "45BCEBB32AA9"}, "platform.networks": ["8.7.6.5"]}}'
    )
    assert answers_file.from_user_data(content, "x") == {
        "proxy.id": "45BCEBB32AA9",
        "platform.networks": "8.7.6.5",
    }


@pytest.mark.parametrize(
    "content",
    [
        b"#!/bin/sh\necho agent-proxy: x\n",
        b"#cloud-config\nusers: [default]\n",
        b"Content-Type: multipart/mixed\n\n",
        b"",
        b"just text",
        b"- a\n- list\n",
    ],
)
def test_user_data_of_others_has_no_answers(content: bytes) -> None:
    assert answers_file.from_user_data(content, "user-data") == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"agent-proxy: [a, {b: c}]", "neither a text nor a list of texts"),
        (b"agent-proxy: text", "neither a text nor a list of texts"),
        (b"agent-proxy: {a: 1, a: 2}", "a is given twice"),
        (b"agent-proxy: {a.b: 1, a: {b: 2}}", "given twice, nested and with dots"),
        (b"agent-proxy: &x {a: 1}", "anchors are not taken"),
        (b"a: &x [1]\nagent-proxy: {b: *x}", "anchors are not taken"),
        (b"agent-proxy: {a: 1", "this is no YAML"),
        (b"agent-proxy: {a: {b: {c: {d: {e: {f: {g: 1}}}}}}}", "neither a text"),
        (b"[" * 5000, "nested too deeply"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: " + b"x" * 70_000, "is longer than 65536 bytes"),
    ],
)
def test_bad_user_data_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(Problems) as caught:
        answers_file.from_user_data(content, "user-data")
    assert said in str(caught.value)
    assert caught.value.problems[0].place.startswith("user-data")


_OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
    xmlns:oe="http://schemas.dmtf.org/ovf/environment/1">
  <PlatformSection><Kind>VMware ESXi</Kind></PlatformSection>
  <PropertySection>
    <Property oe:key="agent-proxy.proxy.id" oe:value="45BCEBB32AA9"/>
    <Property oe:key="agent-proxy.console.password" oe:value="a &lt;long&gt; &quot;one&quot;"/>
    <Property oe:key="agent-proxy.network.address" oe:value=" "/>
    <Property oe:key="vami.ip0.VM" oe:value="10.1.2.3"/>
  </PropertySection>
</Environment>
"""


def test_an_ovf_environment() -> None:
    assert answers_file.from_ovf(_OVF.encode(), "ovf-env.xml") == {
        "proxy.id": "45BCEBB32AA9",
        "console.password": 'a <long> "one"',
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<Environment>", "this is no XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "declares a document type"),
        (_OVF.replace("vami.ip0.VM", "agent-proxy.proxy.id"), "is given twice"),
    ],
)
def test_a_bad_ovf_environment_is_refused(text: str, said: str) -> None:
    with pytest.raises(Problems, match=said):
        answers_file.from_ovf(text.encode(), "ovf-env.xml")


def test_the_kernel_command_line() -> None:
    line = (
        b'root=/dev/vda1 quiet agent-proxy.proxy.id=45BCEBB32AA9 "agent-proxy.network.dns=a, b"\n'
    )
    assert answers_file.from_kernel(line, "kernel") == {
        "proxy.id": "45BCEBB32AA9",
        "network.dns": "a, b",
    }


def test_a_quote_that_is_never_closed_is_not_ours_to_mend() -> None:
    assert answers_file.from_kernel(b'a="b agent-proxy.proxy.id=ABCD', "kernel") == {
        "proxy.id": "ABCD"
    }


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (b"agent-proxy.console.password=x", "everybody may read"),
        (b"agent-proxy.proxy.secret=x", "everybody may read"),
        (b"agent-proxy.upstream.http_proxy_password=x", "everybody may read"),
        (b"agent-proxy.proxy.id", "has no value"),
        (b"agent-proxy.a=1 agent-proxy.a=2", "is given twice"),
    ],
)
def test_bad_words_of_the_kernel_command_line_are_refused(word: bytes, said: str) -> None:
    with pytest.raises(Problems, match=said):
        answers_file.from_kernel(word, "kernel")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"instance-id: i-1\nlocal-hostname: proxy-1.example.com\n", "proxy-1"),
        (b'{"hostname": "proxy-2", "uuid": "x"}', "proxy-2"),
        (b"{broken", ""),
        (b"- list", ""),
        (b"instance-id: i-1", ""),
        (b'{"hostname": ["x"]}', ""),
    ],
)
def test_the_host_name_of_meta_data(content: bytes, expected: str) -> None:
    assert answers_file.host_name(content, "meta-data") == expected


def test_a_tag_makes_no_object() -> None:
    content = b"agent-proxy: {a: !!python/object/apply:os.system x}"
    assert answers_file.from_user_data(content, "user-data") == {"a": "x"}
