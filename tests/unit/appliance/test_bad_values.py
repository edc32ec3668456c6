"""Every value of every verb, given badly: refused beside its field, with the way to correct it.

The tables are compared with VERBS: a verb or an argument that is new has to get a bad value here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from appliance import cli, first_boot, makers
from appliance.editor import Editor
from appliance.effects import Open, Run
from appliance.form import Field, Form
from appliance.screens import Menu
from appliance.system import Completed
from appliance.verb import CONF, Argument, Context, Verb
from appliance.verbs import VERBS, named
from appliance.view import Size
from appliance.work import Work
from proxy import certificates
from tests.unit.appliance.machines import Machine, recorded

_LONG: Final = "x" * 1100
_PASS: Final = "seven quiet horses"
# What else must be given for a form to be handed over.
_GOOD: Final[dict[str, dict[str, str]]] = {
    "firewall open": {"port": "9100"},
    "settings secret": {"name": "proxy.secret", "value": "x" * 32},
    "network reset": {"interface": "eth0"},
    "zones add": {"name": "isolated-1"},
    "upstream proxy": {"url": "http://10.1.2.9:3128"},
    "backup create": {"passphrase": _PASS},
    "backup restore": {"file": "/nowhere.backup", "passphrase": _PASS},
    "syslog set": {"target": "log.example.com:6514"},
}
_NUMBERS: Final = ("many", "-1", "999999999")
# Verb and argument: values of which each must be refused.
_BAD: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("first-boot run", "answers"): ("no mapping", "agent-proxy: [1, 2]", "{"),
    ("upgrade install", "file"): ("x.release", "/nowhere/x.release"),
    ("settings show", "section"): ("nosuch", "zones.nosuch"),
    ("settings secret", "name"): ("nosuch", "proxy.nosuch", "upstream.endpoint"),
    ("settings secret", "value"): ("short",),
    ("network set", "interface"): ("eth0; reboot", "eth77"),
    ("network set", "address"): ("10.1.2.3", "10.1.2.0/24", "10.1.2.300/24", "127.0.0.1/8"),
    ("network set", "gateway4"): ("2001:db8::1", "10.1.2"),
    ("network set", "gateway6"): ("10.1.2.1", "2001:db8::x"),
    ("network set", "route"): ("somewhere", "10.1.2.3/24 via 10.1.2.1", "10.0.0.0/8 via x"),
    ("network set", "dns"): ("ns.example.com", "10.1.2.3, 10.1.2"),
    ("network set", "mtu"): ("many", "70000", "100"),
    ("network set", "vlan"): ("0", "4095", "ten"),
    ("network dns", "server"): ("ns.example.com", "10.1.2.3.4"),
    ("network dns", "search"): ("-bad-", "two words"),
    ("network reset", "interface"): ("eth77", "two words"),
    ("hostname set", "name"): ("-bad-", "10.1.2.3", "x" * 65, "two words"),
    ("zones add", "name"): ("two words", "x" * 33),
    ("zones add", "interface"): ("eth77", "two words"),
    ("zones add", "networks"): ("everywhere", "10.0.0.1/8"),
    ("zones add", "listen"): ("10.1.2.300",),
    ("zones add", "source"): ("here",),
    ("zones add", "port"): ("0", "65536", "many"),
    ("zones add", "network_id"): ("nothing", "aws:"),
    ("zones remove", "name"): ("nosuch", "two words"),
    ("firewall open", "port"): ("0", "65536", "ten", "22", "2002"),
    ("firewall open", "from"): ("everywhere", "10.0.0.1/8"),
    ("firewall close", "port"): ("0", "ten", "9100"),
    ("platform networks", "networks"): ("everywhere", "10.0.0.1/8", "10.1.2.3, x"),
    ("platform client-ca", "ca"): ("nothing", "-----BEGIN CERTIFICATE-----"),
    ("upstream set", "endpoint"): ("platform.example.com", "a:0", "a:1, b"),
    ("upstream set", "ca"): ("nothing",),
    ("upstream set", "server_name"): ("two words",),
    ("upstream proxy", "url"): ("10.1.2.9:3128", "ftp://host:1", "http://host"),
    ("upstream proxy", "user"): ("a:b", "x" * 65),
    ("upstream proxy", "password"): (_LONG,),
    ("certificate self-signed", "name"): ("two words", "10.1.2"),
    ("certificate self-signed", "days"): ("0", "7301", "many"),
    ("certificate request", "name"): ("two words",),
    ("certificate request", "output"): ("request.pem", "/etc/"),
    ("certificate install", "chain"): ("nothing", "-----BEGIN CERTIFICATE-----"),
    ("certificate install", "key"): ("nothing",),
    ("services restart", "name"): ("worker-9", "everything"),
    ("services logs", "worker"): ("many", "1000", "77"),
    ("services logs", "lines"): ("0", "1001", "many"),
    ("password set", "password"): ("short", "aaaaaaaaaaaaa", " seven quiet horses"),
    ("ssh on", "from"): ("everywhere", "10.0.0.1/8"),
    ("ssh key-add", "key"): ("ssh-ed25519", "ssh-ed25519 AAAA me", "-----BEGIN PRIVATE KEY-----"),
    ("ssh key-remove", "key"): ("nobody",),
    ("time set", "server"): ("two words", "10.1.2"),
    ("time set", "timezone"): ("Berlin time", "Europe/Atlantis"),
    ("syslog set", "target"): ("log.example.com", "log.example.com:0"),
    ("syslog set", "ca"): ("nothing",),
    ("syslog set", "server_name"): ("two words",),
    ("updates set", "start"): ("24:00", "3 o'clock"),
    ("updates set", "window"): ("9", "721", "many"),
    ("backup create", "file"): ("x.backup", "/"),
    ("backup create", "passphrase"): ("short",),
    ("backup restore", "file"): ("nosuch", "/nowhere.backup"),
    ("backup restore", "passphrase"): ("short",),
    ("backup remove", "file"): ("nosuch", "/etc/passwd"),
    ("bundle", "file"): ("x.tar.gz",),
    ("diagnose", "wait"): ("many", "3601"),
    ("diagnose", "deadline"): ("4", "3701"),
}
# The console asks for these otherwise: in the forms of the sections, and in the editor.
_ELSEWHERE: Final = {("settings set", "name"), ("settings set", "value"), ("settings edit", "text")}
_CHOSEN: Final = ("flag", "choice")
_REMEDIES: Final = tuple(
    "Add |Answer |Check |Give |Keep |Known are |Paste |Put |See |Set |Take |There are: |Type |Use "
    "|Write |remove ".split("|")
)
_ARGUMENTS: Final = [(verb, one) for verb in VERBS for one in verb.arguments]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = recorded(tmp_path)
    made.write(first_boot.COMPLETE, b"")
    made.answers["timedatectl list-timezones"] = Completed(0, "Europe/Berlin\n", "")
    return made


def form_of(verb: Verb, context: Context) -> Form:
    made = makers.screen(Open("verb", verb), context)
    if isinstance(made, Menu):  # of interfaces
        made = makers.screen(Open("interface", "eth1"), context)
    assert isinstance(made, Form)
    return made


def field_of(form: Form, place: str) -> Field:
    return next(one for one in form.fields if one.place == place)


def filled(form: Form, values: dict[str, str]) -> None:
    for one in form.fields:
        one.text = values.get(one.place, one.text)
        if one.same_as is not None:
            one.text = one.same_as.text


def handed_over(form: Form, verb: Verb, machine: Machine) -> None:
    """Do as the console does: a dry run, and what it refuses is brought back."""
    run = form.key("f2")
    if run is None:
        return
    assert isinstance(run, Run)
    work = Work(verb, run.values, machine, CONF, dry=verb.changes)
    work.start()
    while not work.is_over:
        work.join(0.1)
    assert not work.refusal, f"refused, but not beside the field: {work.refusal}"
    assert work.problems, f"taken: {work.result}"
    form.refuse(work.problems)


def test_the_tables_know_every_argument() -> None:
    judged = {(verb.name, one.name) for verb, one in _ARGUMENTS if one.kind not in _CHOSEN}
    assert judged == set(_BAD) | _ELSEWHERE


@pytest.mark.parametrize(
    ("name", "place", "bad"),
    [(name, place, bad) for (name, place), values in _BAD.items() for bad in values],
    ids=lambda value: str(value)[:24],
)
def test_a_bad_value_is_refused_beside_its_field(
    machine: Machine, name: str, place: str, bad: str
) -> None:
    verb = named(name)
    if name == "first-boot run":
        machine.remove(first_boot.COMPLETE)
        machine.write("/etc/machine-id", b"0123456789abcdef0123456789abcdef\n")
    form = form_of(verb, Context(machine, CONF))
    good = _GOOD.get(name, {})
    if name == "certificate install":
        good = {"chain": certificates.self_signed(["node-1"], 30)[0].decode()}
    filled(form, {**good, place: bad})
    handed_over(form, verb, machine)
    field = field_of(form, place)
    assert field.wrong, [str(one) for one in form.others]
    assert any(word in field.wrong for word in _REMEDIES), field.wrong
    assert form.fields[form.chosen] is field
    shown = ["".join(part for _, part in line) for line in form.view(Size(80, 24)).lines]
    row = next(n for n, line in enumerate(shown) if line.startswith(">"))
    assert shown[row + 1].strip().startswith("! ")
    assert machine.ran == []


@pytest.mark.parametrize(
    ("verb", "one"),
    [pair for pair in _ARGUMENTS if pair[1].kind in _CHOSEN],
    ids=lambda value: value.name,
)
def test_what_is_chosen_can_be_nothing_else(
    machine: Machine, verb: Verb, one: Argument, capsys: pytest.CaptureFixture[str]
) -> None:
    form = form_of(verb, Context(machine, CONF))
    field = field_of(form, one.name)
    form.chosen = list(form.fields).index(field)
    allowed = one.choices or ("no", "yes")
    for key in (*"abcxyz0123456789", "left", "right", " ", "ctrl u", "backspace"):
        form.key(key)
        assert field.text in ("", *allowed)
    assert all(choice in field.range for choice in allowed) or field.range
    if one.kind == "choice":
        required = [word for other in verb.arguments if other.required for word in ("x",)]
        with pytest.raises(SystemExit) as ended:
            cli.main([*verb.words, *required, f"--{one.name.replace('_', '-')}", "nosuch"])
        assert ended.value.code == 2
        assert all(choice in capsys.readouterr().err for choice in one.choices[:1])


@pytest.mark.parametrize("bad", ["port = 2002", "[nosuch]", "[listen]\nport = many", "[listen"])
def test_a_bad_file_is_not_handed_over(machine: Machine, bad: str) -> None:
    editor = makers.screen(Open("verb", named("settings edit")), Context(machine, CONF))
    assert isinstance(editor, Editor)
    for key in bad:
        editor.key("enter" if key == "\n" else key)
    editor.key("enter")
    assert editor.key("f2") is None
    assert all(any(word in one.text for word in _REMEDIES) for one in editor.faults), editor.faults


def test_a_secret_is_typed_twice_but_where_it_is_known(machine: Machine) -> None:
    """A typing error that nobody sees would lock an operator out, or make a backup worthless."""
    context = Context(machine, CONF)
    for verb, one in _ARGUMENTS:
        if one.kind == "secret":
            form = form_of(verb, context)
            again = [field for field in form.fields if field.same_as is field_of(form, one.name)]
            assert len(again) == (verb.name != "backup restore")
            for field in again:
                field_of(form, one.name).text = _PASS
                field.text = _PASS + "s"
                assert "not the same" in field.wrong
                field.text = _PASS
                assert not field.wrong
