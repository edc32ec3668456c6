"""settings and what it is made of: inifile, gathering, values, consistency, declarations."""

from __future__ import annotations

import ast
import dataclasses
from ipaddress import ip_network
from pathlib import Path

import pytest
from configobj import ConfigObj
from hypothesis import given
from hypothesis import settings as searching
from hypothesis import strategies as st

from proxy import inifile, settings
from proxy.errors import ConfigurationProblems, Problem
from proxy.settings import DECLARATIONS, SECTIONS, Endpoint, Settings, Zone, parse

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "conf" / "proxy.ini"
SECRET = "correct horse battery staple, twice over"
OTHER = "another secret of quite enough characters"


def read(text: str, **how: object) -> Settings:
    return parse(text.splitlines(keepends=True), **how)  # type: ignore[arg-type]


def problems(text: str, **how: object) -> list[Problem]:
    with pytest.raises(ConfigurationProblems) as caught:
        read(text, **how)
    for one in caught.value.problems:
        assert one.file and one.key and one.message and one.remedy.endswith((".", "?")), one
    return caught.value.problems


def only(text: str, **how: object) -> Problem:
    (one,) = problems(text, **how)
    return one


# --- what comes out ---------------------------------------------------------------------------


def test_nothing_configured_gives_the_defaults_and_no_access() -> None:
    result = read("")
    assert result.proxy.id == "" and result.proxy.secret == b""
    assert result.platform.networks == () and result.upstream.endpoints == ()
    assert result.upstream.verify is True and result.agents.verify == "no"
    assert result.listen.addresses == ("0.0.0.0",) and result.listen.port == 2002
    assert [str(one) for one in result.agents.networks] == [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
    ]
    assert result.zones == (Zone("default", "", "", "", result.agents.networks, 2003),)
    assert result.peers == ()
    assert result.timeouts.agent_answer == 600.0 and result.limits.head_bytes == 32768


def test_a_whole_file_is_read() -> None:
    result = read(
        """
        [proxy]
        id = 45BCEBB32AA9
        [upstream]
        endpoint = provisioning.example.com:3302, [2001:DB8::1]:3303
        verify = off
        ca_file = etc/ca.pem
        http_proxy = http://squid.example.com:3128/
        http_proxy_user = "joe"
        http_proxy_password = 'a, b#c'
        [platform]
        networks = 192.0.2.0/24, 2001:db8::5
        routes = any
        [agents]
        ports = 2003, 2013
        deny =
        [zones]
        [[isolated-1]]
        interface = eth1
        networks = 10.0.0.0/8
        source = 10.0.0.1
        [[isolated-2]]
        interface = eth2
        port = 2099
        [peers]
        [[FAR-1]]
        role = farther
        networks = 192.0.2.77
        [[NEAR]]
        networks = 192.0.2.78
        endpoint = 192.0.2.78:2002
        certificate = AA:"""
        + "bb" * 31
        + """
        [timeouts]
        connect = 0.5
        [log]
        access = NO
        """,
        base="/srv/proxy/",
        node="fallback",
    )
    assert result.proxy.node == "fallback"
    assert result.upstream.endpoints == (
        Endpoint("provisioning.example.com", 3302),
        Endpoint("2001:db8::1", 3303),
    )
    assert str(result.upstream.endpoints[1]) == "[2001:db8::1]:3303"
    assert result.upstream.verify is False
    assert result.upstream.ca_file == "/srv/proxy/etc/ca.pem"
    assert result.upstream.http_proxy == "http://squid.example.com:3128"
    assert result.upstream.http_proxy_user == "joe"
    assert result.upstream.http_proxy_password == "a, b#c"
    assert result.platform.networks == (
        ip_network("192.0.2.0/24"),
        ip_network("2001:db8::5/128"),
    )
    assert result.zones == (
        Zone("isolated-1", "eth1", "", "10.0.0.1", (ip_network("10.0.0.0/8"),), 2003),
        Zone("isolated-2", "eth2", "", "", result.agents.networks, 2099),
    )
    assert [(one.id, one.role, one.endpoint) for one in result.peers] == [
        ("FAR-1", "farther", None),
        ("NEAR", "nearer", Endpoint("192.0.2.78", 2002)),
    ]
    assert result.peers[1].certificate == "aa" + "bb" * 31
    assert result.timeouts.connect == 0.5 and result.log.access is False


def test_a_zone_without_a_port_takes_the_first_agent_port() -> None:
    assert read("[agents]\nports=2013\n[zones]\n[[a]]\n").zones[0].port == 2013


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read("").listen.port = 1  # type: ignore[misc]


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem() -> None:
    assert parse(["\ufeff[listen]\r\n", "port = 2012\r\n"]).listen.port == 2012


@pytest.mark.parametrize(
    ("base", "expected"),
    [("", "var/x"), (".", "var/x"), ("/srv", "/srv/var/x"), ("..", "../var/x")],
)
def test_relative_paths_begin_at_the_base(base: str, expected: str) -> None:
    assert read("[upstream]\nca_file = var/x\n", base=base).upstream.ca_file == expected
    assert read("[upstream]\nca_file = /etc/x\n", base=base).upstream.ca_file == "/etc/x"
    assert read("", base=base).upstream.ca_file == ""


# --- secrets ----------------------------------------------------------------------------------


def test_a_secret_comes_from_the_file_itself() -> None:
    assert read(f'[proxy]\nsecret = "{SECRET}"\n').proxy.secret == SECRET.encode()


def test_a_secret_comes_from_its_own_file_without_the_line_end() -> None:
    files = {"/srv/var/secret": f"{SECRET}\n"}
    result = read("[proxy]\nsecret_file = var/secret\n", base="/srv", read=files.__getitem__)
    assert result.proxy.secret == SECRET.encode()


def test_the_environment_goes_before_the_file() -> None:
    environ = {"AGENT_PROXY_PROXY_SECRET": OTHER, "AGENT_PROXY_PROXY_PREVIOUS_SECRET": ""}
    result = read(f"[proxy]\nsecret = {SECRET}\n", environ=environ)
    assert result.proxy.secret == OTHER.encode() and result.proxy.previous_secret == b""


def test_a_short_secret_in_the_environment_is_a_problem_there() -> None:
    one = only("", environ={"AGENT_PROXY_PROXY_SECRET": "hush"})
    assert one.key == "AGENT_PROXY_PROXY_SECRET" and "hush" not in str(one)


def test_a_secret_that_is_no_text_in_the_environment_is_a_problem() -> None:
    one = only("", environ={"AGENT_PROXY_PROXY_SECRET": f"{SECRET}\udcff"})
    assert "cannot be printed" in one.message and SECRET not in str(one)


def _raise(error: Exception) -> str:
    raise error


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (None, "cannot be read from here"),
        (lambda path: _raise(FileNotFoundError(2, "No such file or directory")), "No such file"),
        (lambda path: _raise(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "?")), "is not text"),
        (lambda path: " \n", "is empty"),
        (lambda path: "x" * 5000, "too large"),
        (lambda path: "short", "shorter than 32"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_a_problem(reader: object, message: str) -> None:
    one = only("[proxy]\nsecret_file = var/s\n", read=reader)
    assert one.line == 2 and message in one.message and "secret_file" in one.key


def test_a_secret_given_twice_is_a_problem() -> None:
    one = only(f"[proxy]\nsecret = {SECRET}\nsecret_file = x\n", read=lambda path: OTHER)
    assert "secret_file (line 3)" in one.message and one.line == 2


def test_an_empty_secret_or_file_name_counts_as_not_given() -> None:
    assert read("[proxy]\nsecret =\nsecret_file =\n").proxy.secret == b""


@pytest.mark.parametrize(
    "text",
    [
        "[proxy]\nsecret = hunter2\n",
        "[proxy]\nsecert = hunter2\n",
        "[proxy]\nsecret = x\nsecret = hunter2\n",
        "[proxy]\nsecret = 'hunter2\n",
        "[proxy]\nsecret hunter2\n",
        "[proxy]\nsecret = '''hunter2\n",
        "[proxy]\nsecret = a#hunter2\n",
        "[proxy] secret = hunter2\n",
        "[proxy]\nsecret = a\x00hunter2\n",
        "secret = hunter2\n",
        "[upstream]\nhttp_proxy = http://joe:hunter2@squid:3128\n",
        "[upstream]\nhttp_proxy_password = hunter2\n",
        "[upstream]\nhttp_proxy_password = hunter2\x85a\n",
    ],
)
def test_no_problem_tells_a_secret(text: str) -> None:
    assert "hunter2" not in "\n".join(str(one) for one in problems(text))


def test_neither_repr_nor_show_tells_a_secret() -> None:
    text = (
        f"[proxy]\nsecret = {SECRET}\nprevious_secret = {OTHER}\n[upstream]\n"
        "http_proxy = http://p:1\nhttp_proxy_user = joe\nhttp_proxy_password = hunter2\n"
    )
    result = read(text)
    shown = "\n".join(settings.show(result))
    for secret in (SECRET, OTHER, "hunter2"):
        assert secret not in shown and secret not in repr(result)
    assert "# secret = ********" in shown


# --- what is wrong with a file ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "remedy"),
    [
        ("[lisen]\n", 1, "Did you mean [listen]?"),
        ("[Listen]\n", 1, "Did you mean [listen]?"),
        ("[listen]\nprot = 1\n", 2, "Did you mean port?"),
        ("[proxy]\nsecretfile = x\n", 2, "Did you mean secret_file?"),
        ("[zones]\n[[a]]\ninterfaces = x\n", 3, "Did you mean interface?"),
        ("[qqq]\n", 1, "Known are [admin], [agents]"),
        ("[drain]\nxyzzy = 1\n", 2, "Known are delay, timeout."),
        ("[proxy]\nbalancers = 10.0.0.0/8\n", 2, "It belongs into [listen]."),
        ("[zones]\ninterface = eth0\n", 2, "Put it below a [[name]] inside [zones]."),
        ("\n\nport = 1\n", 3, "Put it below the [section] it belongs to."),
        ("[listen]\n[[a]]\n", 2, "Sections inside sections belong into [zones] and [peers] only."),
        ("[zones]\n[[a b]]\n", 2, "Take 1 to 32 of"),
        ("[peers]\n[[abc]]\n", 2, "A peer is named by its proxy ID"),
        ("[listen]\nport = 2002 # here\n", 2, "Give a comment its own line"),
        ("[listen]\nport = '2002\n", 2, "with a quote at both ends or at none"),
        ("[listen]\nport\n", 2, "Write key = value"),
        ("[listen]\n= 4\n", 2, "Write key = value"),
        ("[listen]\nport = 1\nport = 2\n", 3, "Keep one of the two lines."),
        ("[listen]\n[drain]\n[listen]\n", 3, "Move its lines up to line 1"),
        ("[listen\n", 1, "Write [name], or [[name]]"),
        ("[[listen]\n", 1, "Write [name], or [[name]]"),
        ("[[listen]]\n", 1, "Write [name], or [[name]]"),
        ("[a]b]\n", 1, "Write [name], or [[name]]"),
        ("[listen]\nport = 1\x1b2\n", 2, "Type the line again."),
        ('[listen]\nport = """1\n2"""\n', 2, "Use single or double quotes"),
    ],
)
def test_bad_lines_are_named_with_a_remedy(text: str, line: int, remedy: str) -> None:
    found = problems(text)
    assert (found[0].line, remedy in found[0].remedy) == (line, True), found


def test_sections_inside_unknown_sections_are_reported_once() -> None:
    assert only("[zone]\n[[a]]\ninterface = eth0\n").remedy == "Did you mean [zones]?"


def test_all_problems_are_reported_at_once_in_line_order() -> None:
    text = (
        "[listen]\nport = 0\nport = 1\nwhat\n[timeout]\n[listen]\nbacklog = 10s\n[log]\nlevel = a\n"
    )
    assert [one.line for one in problems(text)] == [2, 3, 4, 5, 6, 7, 9]


def test_a_file_that_is_too_large_is_not_read_to_its_end() -> None:
    def endless() -> object:
        while True:
            yield "# " + "x" * 1000 + "\n"

    with pytest.raises(ConfigurationProblems, match="larger than 1048576"):
        parse(endless())  # type: ignore[arg-type]


def test_percent_and_dollar_are_themselves() -> None:
    text = "[proxy]\nsecret = '%(id)s ${id} $id and more than enough'\n"
    assert read(text).proxy.secret == b"%(id)s ${id} $id and more than enough"


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        ("proxy", "id = abc", "cannot be a proxy ID"),
        ("proxy", "id = a b c d", "cannot be a proxy ID"),
        ("proxy", f"id = {'a' * 65}", "cannot be a proxy ID"),
        ("proxy", f"node = {'a' * 65}", "too long"),
        ("listen", "addresses = 10.0.0.0/8", "is not an IP address"),
        ("listen", "addresses = 10.0.0.1,", "comma with nothing"),
        ("listen", "addresses = 10.0.0.1, 10.0.0.1", "given twice"),
        ("listen", "port = 0", "too small"),
        ("listen", "port = 65536", "too large"),
        ("listen", "port = 2_002", "not a whole number"),
        ("listen", "port =", "not a whole number"),
        ("listen", "min_tls = 1.4", "not one of the words"),
        ("listen", "balancers = 10.0.0.1/8", "the network is 10.0.0.0/8"),
        ("listen", "balancers = lb.example.com", "not an address or a network"),
        ("upstream", "endpoint = platform", "has no port"),
        ("upstream", "endpoint = :3302", "has no port"),
        ("upstream", "endpoint = platform:0", "not a number from 1 to 65535"),
        ("upstream", "endpoint = platform:x", "not a number from 1 to 65535"),
        ("upstream", "endpoint = fd00::1:3302", "stands in brackets"),
        ("upstream", "endpoint = [platform]:3302", "stands in brackets"),
        ("upstream", "endpoint = https://platform:3302", "stands in brackets"),
        ("upstream", "endpoint = plat form:3302", "neither a host name nor an address"),
        ("upstream", "endpoint = 1.2.3.400:3302", "looks like an address"),
        ("upstream", f"server_name = {'a.' * 130}b", "neither a host name"),
        ("upstream", "server_name = fe80::1%eth0", "neither a host name"),
        ("upstream", "ca_file = a\u200bb", "cannot be printed"),
        ("listen", "addresses = fe80::1%eth0", "is not an IP address"),
        ("upstream", "verify = maybe", "neither yes nor no"),
        ("upstream", "http_proxy = squid:3128", "does not start with http://"),
        ("upstream", "http_proxy = https://squid:3128", "does not start with http://"),
        ("upstream", "http_proxy = http://squid", "has no port"),
        ("upstream", "http_proxy = http://j:p@squid:1", "credentials"),
        ("agents", "ports =", "at least one port"),
        ("timeouts", "connect = 5s", "not a number of seconds"),
        ("timeouts", "connect = nan", "not a number of seconds"),
        ("timeouts", "connect = 0", "too small"),
        ("timeouts", "connect = 301", "too large"),
        ("zones]\n[[a]", "interface = eth 0", "name of an interface"),
        ("peers]\n[[ABCD]", "certificate = abc", "not a SHA-256"),
    ],
)
def test_bad_values_are_named(section: str, line: str, message: str) -> None:
    one = problems(f"[{section}]\n{line}\n")[0]
    assert message in one.message and one.remedy.startswith("Give ")


@pytest.mark.parametrize(
    ("section", "line", "field", "expected"),
    [
        ("listen", "addresses = 127.0.0.1, ::1", "addresses", ("127.0.0.1", "::1")),
        ("upstream", "server_name = Platform.example.com.", "server_name", "Platform.example.com."),
        ("upstream", "verify = TRUE", "verify", True),
        ("agents", "ports = 1,65535", "ports", (1, 65535)),
        ("limits", "platform_share = 0", "platform_share", 0),
        ("drain", "delay = 0", "delay", 0.0),
    ],
)
def test_good_values_are_read(section: str, line: str, field: str, expected: object) -> None:
    assert getattr(getattr(read(f"[{section}]\n{line}\n"), section), field) == expected


# --- what does not fit together ---------------------------------------------------------------

PEER = "[peers]\n[[ABCD]]\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (f"[proxy]\nprevious_secret = {SECRET}\n", 2, "no present one"),
        (f"[proxy]\nsecret = {SECRET}\nprevious_secret = {SECRET}\n", 3, "is the present one"),
        ("[proxy]\nid = ABCD\n[platform]\nnetworks = 192.0.2.1\n", 1, "needs a secret"),
        ("[platform]\nnetworks = 0.0.0.0/0\n", 2, "anybody would count as the platform"),
        ("[listen]\nbalancers = ::/0\n", 2, "anybody could claim"),
        ("[listen]\naddresses =\n", 2, "at least one address"),
        ("[listen]\nkey =\n", 2, "over TLS only"),
        ("[upstream]\nhttp_proxy = http://p:1\nhttp_proxy_user = a:b\n", 3, "no colon"),
        ("[upstream]\nhttp_proxy_user = joe\n", 2, "no forward proxy"),
        ("[upstream]\nhttp_proxy_password = x\n", 2, "no user name"),
        ("[agents]\nverify = ca\n", 1, "which authorities"),
        ("[agents]\nnetworks = 127.0.1.0/24\n", 2, "this machine itself"),
        ("[agents]\nnetworks = 10.0.0.0/8, ::1\n", 2, "this machine itself"),
        ("[zones]\n[[a]]\nnetworks = 127.0.0.1\n", 3, "this machine itself"),
        ("[zones]\n[[a]]\n[[b]]\nnetworks = 10.1.0.0/16\n", 4, "overlaps 10.0.0.0/8"),
        ("[zones]\n[[a]]\ninterface = e0\n[[b]]\ninterface = e0\n", 4, "overlaps"),
        ("[zones]\n[[a]]\nnetwork_id = x\n", 3, "no network that a balancer names"),
        ("[zones]\n[[a]]\nnetwork_id = vpc:x\n", 3, "no network that a balancer names"),
        ("[zones]\n[[a]]\nnetwork_id = aws:\n", 3, "no network that a balancer names"),
        (
            "[zones]\n[[a]]\ninterface = e0\nnetwork_id = gcp:1\n"
            "[[b]]\ninterface = e1\nnetwork_id = gcp:1\n",
            7,
            "network of the zone a already",
        ),
        (f"[proxy]\nid = ABCD\n{PEER}networks = 10.9.9.9\nrole = farther\n", 4, "own ID"),
        (f"{PEER}role = farther\n", 2, "never be recognised"),
        (f"{PEER}networks = 192.0.2.1\n", 2, "need an address to go to"),
        ("[limits]\nhead_bytes = 1024\n", 1, "the request line is part of the head"),
        ("[limits]\nconnections_per_source = 9000\n", 2, "more than all together"),
        ("[admin]\naddress = 0.0.0.0\n", 2, "others would reach"),
        ("[admin]\naddress =\n", 2, "others would reach"),
        ("[admin]\nport = 2002\n", 2, "the port of [listen]"),
    ],
)
def test_contradictions_are_named(text: str, line: int, message: str) -> None:
    one = only(text)
    assert (one.line, message in one.message) == (line, True), one


@pytest.mark.parametrize(
    "text",
    [
        f"[proxy]\nid = ABCD\nsecret = {SECRET}\n[platform]\nnetworks = 192.0.2.1\n",
        "[proxy]\nid = ABCD\n[platform]\nnetworks = 192.0.2.1\nroutes = any\n",
        "[platform]\nnetworks = 0.0.0.0/0\nclient_ca = ca.pem\n",
        "[agents]\nnetworks = 127.0.1.0/24, ::1\nallow_loopback = yes\n",
        "[agents]\nverify = ca\nca_file = x\n",
        "[zones]\n[[a]]\ninterface = e0\n[[b]]\ninterface = e1\n",
        "[zones]\n[[a]]\nnetworks = 10.1.0.0/16\n[[b]]\nnetworks = 10.2.0.0/16\n",
    ],
)
def test_what_fits_together_is_taken(text: str) -> None:
    assert read(text)


# --- show and digest --------------------------------------------------------------------------


FULL = (
    "[upstream]\nendpoint = [fd00::1]:3302, b:1\n[proxy]\nnode = '#1 \"a\" '\n[listen]\n"
    'certificate = "it\'s"\n[zones]\n[[a]]\ninterface = e0\n[[b]]\ninterface = e1\nport = 7\n'
    "[peers]\n[[ABCD]]\nendpoint = h:1\nnetworks = 192.0.2.1\n[[EFGH]]\nrole = farther\n"
    "networks = 192.0.2.2\n[timeouts]\nconnect = 0.25\n[log]\naccess = no\n"
)


@pytest.mark.parametrize("text", ["", FULL])
def test_what_is_shown_is_read_back_the_same(text: str) -> None:
    result = read(text)
    assert parse(settings.show(result)) == result


@given(
    st.fixed_dictionaries(
        {
            "connect": st.floats(0.1, 300).map(lambda number: f"{number:.3f}"),
            "node": st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"])).filter(
                lambda text: len(text) < 64 and not ("'" in text and '"' in text)
            ),
            "endpoint": st.tuples(st.ip_addresses(v=6), st.integers(1, 65535)).map(
                lambda pair: f"[{pair[0]}]:{pair[1]}"
            ),
        }
    )
)
def test_any_values_shown_are_read_back_the_same(values: dict[str, str]) -> None:
    quote = '"' if "'" in values["node"] else "'"
    text = (
        f"[proxy]\nnode = {quote}{values['node']}{quote}\n[timeouts]\nconnect = "
        f"{values['connect']}\n[upstream]\nendpoint = {values['endpoint']}\n"
    )
    result = read(text)
    assert result.proxy.node == values["node"].strip()
    assert parse(settings.show(result)) == result


SEALED = f"[proxy]\nsecret = {SECRET}\n"


@pytest.mark.parametrize(
    ("text", "is_same"),
    [
        (f"[proxy]\nnode = other\nsecret = {SECRET}\n", True),
        (f"{SEALED}[listen]\nport = 2012\naddresses = 10.0.0.1\ncertificate = x\nkey = y\n", True),
        (f"{SEALED}[admin]\nport = 2005\n[log]\nlevel = error\n", True),
        (f"{SEALED}[listen]\nbalancers = 10.0.0.1\n", True),
        (f"[proxy]\nsecret = {OTHER}\n", False),
        ("", False),
        (f"{SEALED}previous_secret = {OTHER}\n", False),
        (f"{SEALED}[upstream]\nendpoint = a:1\n", False),
        (f"{SEALED}[platform]\nclient_ca = x\n", False),
        (f"{SEALED}[zones]\n[[other]]\n", False),
        (f"{SEALED}{PEER}role = farther\nnetworks = 192.0.2.1\n", False),
    ],
)
def test_the_digest_is_of_what_the_group_shares(text: str, is_same: bool) -> None:
    one, other = settings.digest(read(SEALED)), settings.digest(read(text))
    assert (one == other) is is_same and len(other) == 64


def test_the_digest_does_not_depend_on_where_it_is_installed() -> None:
    text = f"{SEALED}[upstream]\nca_file = x\n"
    assert settings.digest(read(text, base="/a")) == settings.digest(read(text, base="/b"))


def test_the_digest_ignores_a_zones_interface_but_not_its_networks() -> None:
    def digest(more: str) -> str:
        return settings.digest(read(f"{SEALED}[zones]\n[[a]]\n{more}\n"))

    assert digest("interface = e0\nlisten = 10.0.0.1\nsource = 10.0.0.1") == digest("")
    assert digest("networks = 10.1.0.0/16") != digest("")


def test_without_a_secret_the_digest_only_says_that_a_password_is_set() -> None:
    def digest(password: str, secret: str) -> str:
        proxy = "[upstream]\nhttp_proxy = http://p:1\nhttp_proxy_user = joe\n"
        return settings.digest(read(f"{secret}{proxy}http_proxy_password = {password}\n"))

    assert digest("a", "") == digest("b", "")
    assert digest("a", SEALED) != digest("b", SEALED)


# --- the manual -------------------------------------------------------------------------------


def _manual() -> dict[tuple[str, str], tuple[str, str]]:
    """Return the comment above each key and what is behind its "=", by section and key."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    section, comment = "", []
    for line in MANUAL.read_text(encoding="ascii").splitlines():
        bare = line.removeprefix("# ").removeprefix("# ")
        if line.startswith("[") or line.startswith("# [["):
            section = f"{section}.*" if "[[" in line else line.strip("[]")
        elif not line:
            comment = []
        elif " =" in bare and bare.split(" =")[0].isidentifier():
            key, value = bare.split(" =", 1)
            found[section, key] = (" ".join(" ".join(comment).split()), value.strip())
        else:
            comment.append(line.removeprefix("#"))
    return found


def test_the_manual_has_each_setting_in_order_and_no_others() -> None:
    expected = []
    for one in DECLARATIONS:
        expected.append((one.section, one.key))
        if one.is_secret:
            expected.append((one.section, f"{one.key}_file"))
    assert list(_manual()) == expected


@pytest.mark.parametrize("one", DECLARATIONS, ids=lambda one: f"{one.section}.{one.key}")
def test_the_manual_says_what_the_declaration_says(one: settings.Declaration) -> None:
    comment, value = _manual()[one.section, one.key]
    assert value == one.default
    unit = f" {one.unit}" if one.unit else ""
    assert f"Range: {one.range}{unit}." in comment
    assert f"Default: {one.default or 'not set'}." in comment
    assert comment.startswith(" ".join(one.sense.split()))
    assert comment.endswith(f"If wrong: {one.wrong}")


def test_the_manual_is_a_valid_file_and_equals_the_defaults() -> None:
    text = MANUAL.read_text(encoding="ascii")
    assert read(text) == read("")
    assert read(text).proxy.id == "" and read(text).upstream.endpoints == ()


def test_the_manual_has_no_comments_behind_values_and_short_lines() -> None:
    for line in MANUAL.read_text(encoding="ascii").splitlines():
        assert len(line) <= 100
        assert line.startswith("#") or "#" not in line


def test_the_examples_of_the_manual_are_valid_when_taken() -> None:
    lines = MANUAL.read_text(encoding="ascii").splitlines()
    taken = [
        line.removeprefix("# ") if line.startswith(("# [[",)) else line
        for line in lines
        if "45BCEBB32AA9" not in line
    ]
    assert [zone.name for zone in parse(taken).zones] == ["isolated-1"]


def test_configobj_alone_reads_the_same_as_we_do() -> None:
    """The console edits the file with configobj: both must agree."""
    lines = MANUAL.read_text(encoding="ascii").splitlines()
    ini = ConfigObj(lines, interpolation=False, list_values=False)
    for entry in inifile.read(lines, "proxy.ini").entries:
        assert ini[entry.section[0]][entry.key] == entry.value
        assert lines[entry.line - 1].startswith(f"{entry.key} =")


# --- the declarations -------------------------------------------------------------------------


@pytest.mark.parametrize("one", DECLARATIONS, ids=lambda one: f"{one.section}.{one.key}")
def test_each_declaration_is_complete_and_its_default_is_in_range(
    one: settings.Declaration,
) -> None:
    assert settings.declaration(one.section, one.key) is one and one.section in SECTIONS
    assert one.sense.endswith(".") and one.wrong.endswith(".") and one.range
    if one.kind in ("integer", "seconds"):
        assert one.low <= float(one.default) <= one.high
        assert f"{one.low:g} to {one.high:.0f}" == one.range
    for word in one.choices:
        assert word in one.range
    assert (one.kind == "choice") == bool(one.choices)


def test_nothing_impure_is_imported() -> None:
    names = "settings gathering consistency declaration declarations declarations_running"
    names += " declarations_bounds"
    names += " declarations_targets values shapes inifile migration"
    banned = {"os", "socket", "ssl", "gevent", "time", "logging", "pathlib", "subprocess"}
    for name in names.split():
        tree = ast.parse((ROOT / "proxy" / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not banned & {one.name.split(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned


@given(st.lists(st.text(max_size=30), max_size=12))
def test_any_lines_give_settings_or_problems_and_nothing_else(lines: list[str]) -> None:
    try:
        parse(lines)
    except ConfigurationProblems as error:
        assert all(one.remedy for one in error.problems)


_SALAD = st.sampled_from(
    "[ ] [[ ]] = # ' \" ''' , listen zones peers a port secret 10.0.0.0/8 \t \\ % $".split(" ")
)


@searching(deadline=None)  # how fast is no matter here, and the machine may be busy
@given(st.lists(st.lists(_SALAD, max_size=6).map("".join), max_size=15))
def test_nearly_right_lines_give_settings_or_problems_and_nothing_else(lines: list[str]) -> None:
    try:
        parse(lines)
    except ConfigurationProblems as error:
        assert all(1 <= one.line <= len(lines) for one in error.problems)
