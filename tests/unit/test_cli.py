"""The command line as an operator meets it: words in, text and an exit code out."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from proxy import arguments, cli, status_text
from tests.unit.authority import Issued, issue

ID = "45BCEBB32AA9"
SECRET = "0123456789abcdef0123456789abcdef"
INI = f"""\
[proxy]
id = {ID}
secret = {SECRET}
previous_secret = open sesame, open sesame, open sesame
[agents]
networks = 127.0.1.0/24
allow_loopback = yes
[platform]
networks = 127.0.2.1/32
"""
UNSEALED = f'"{ID}", agent;zone="default";host="127.0.1.1";port=2003'


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf/proxy.ini"
    path.touch(0o600)
    path.write_text(INI)
    monkeypatch.setenv("AGENT_PROXY_CONF", str(path))
    monkeypatch.chdir(tmp_path)
    return path


@pytest.fixture
def ready(conf: Path) -> Path:
    """A configuration with a certificate."""
    assert _run("certificate", "self-signed", "--name", "proxy.example.com") == 0
    return conf


def _run(*words: str) -> int:
    return cli.run(arguments.parser().parse_args(words))


def _usage_error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        _run(*words)
    assert ended.value.code == 2
    return capsys.readouterr().err


# Words and help


_VERBS = (
    ("worker",),
    ("check",),
    ("show",),
    ("explain",),
    ("register-info",),
    ("status",),
    ("migrate",),
    ("certificate",),
    ("certificate", "self-signed"),
    ("certificate", "request"),
    ("certificate", "install"),
    ("certificate", "show"),
)


@pytest.mark.parametrize("words", [(), *_VERBS])
def test_help_has_examples(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _run(*words, "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "examples:\n  agent-proxy " in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        (["show"], {}, "conf/proxy.ini"),
        (["show"], {"AGENT_PROXY_CONF": "e.ini"}, "e.ini"),
        (["--conf", "a.ini", "show"], {"AGENT_PROXY_CONF": "e.ini"}, "a.ini"),
        (["show", "--conf", "b.ini"], {"AGENT_PROXY_CONF": "e.ini"}, "b.ini"),
        (["--conf", "a.ini", "certificate", "show"], {}, "a.ini"),
        (["certificate", "show", "--conf", "b.ini"], {}, "b.ini"),
    ],
)
def test_where_the_configuration_is(
    words: list[str], environment: dict[str, str], expected: str
) -> None:
    assert arguments.parser(environment).parse_args(words).conf == expected


@pytest.mark.parametrize(
    "words",
    [
        ["worker", "--number", "-1"],
        ["worker", "--number", "1000"],
        ["check", "--deadline", "0"],
        ["check", "--deadline", "soon"],
        ["certificate", "self-signed", "--days", "0"],
        ["explain"],
        ["migrate"],
        ["certificate"],
        ["restart"],
        [],
    ],
)
def test_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "agent-proxy" in _usage_error(capsys, *words)


def test_worker_gets_its_file_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from proxy import worker

    monkeypatch.setattr(worker, "run", lambda path, number: (path, number))
    assert _run("worker", "--conf", "a.ini", "--number", "3") == ("a.ini", 3)


_ENTRY = """
import sys
from proxy import __main__
try:
    code = __main__.main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
loaded = [name for name in ("gevent", "cryptography", "ssl") if name in sys.modules]
from gevent import monkey
print(code, loaded, monkey.is_module_patched("socket"))
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["worker", "--conf", "nowhere.ini"], "2 ['gevent', 'ssl'] True"),
        (["explain", "x", "--conf", "nowhere.ini"], "2 ['gevent', 'ssl'] True"),
        (["show", "--conf", "nowhere.ini"], "2 [] False"),
        (["--version"], "0 [] False"),
    ],
)
def test_each_verb_loads_what_it_needs(words: list[str], expected: str) -> None:
    command = [sys.executable, "-c", _ENTRY, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == expected


def test_python_m_ends_with_the_exit_code() -> None:
    command = [sys.executable, "-m", "proxy", "--conf", "nowhere.ini", "show"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "nowhere.ini" in done.stderr


def test_reader_that_goes_away_is_no_traceback(ready: Path) -> None:
    command = f"{sys.executable} -u -m proxy show | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("# ")
    assert done.stderr == ""


# show


def test_show_masks_secrets(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("show") == 0
    text = capsys.readouterr().out
    assert f"id = {ID}" in text
    assert "port = 2002" in text
    assert SECRET not in text
    assert "sesame" not in text


def test_all_problems_of_the_configuration(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf.write_text("[proxi]\n[listen]\nport = 99999\nprot = 1\n")
    for verb in (["show"], ["register-info"], ["status"], ["certificate", "show"]):
        assert _run(*verb) == 2
        errors = capsys.readouterr().err.splitlines()
        assert len(errors) == 3
        assert all(line.startswith(f"agent-proxy: {conf}:") for line in errors)


# explain


def test_explain_says_every_rule(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert _run("explain", UNSEALED) == 1
    text = capsys.readouterr().out
    assert "NO   4 seal       no seal" in text
    assert text.endswith("A call with this route would be refused.\n")


def test_explain_as_json(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ready.write_text(INI.replace("[platform]", "[platform]\nroutes = any"))
    capsys.readouterr()
    assert _run("explain", UNSEALED, "--json") == 0
    assert json.loads(capsys.readouterr().out)["allowed"] is True


def test_explain_with_the_route_that_is_minted(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from proxy import route

    key = route.seal_key(SECRET.encode())
    sealed = route.mint(ID, "default", "127.0.1.1", 2003, key).decode()
    assert _run("explain", f" {sealed}\n") == 0
    assert capsys.readouterr().out.endswith("A call with this route would be forwarded.\n")


def test_explain_of_nonsense(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("explain", "\x1b[31m\u00e9") == 1
    out = capsys.readouterr().out
    assert "NO   0 route" in out
    assert "\x1b" not in out


def test_explain_probes_the_agent(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.1.1", 0)) as gone:
        port = gone.getsockname()[1]
    text = INI.replace("[platform]", "[platform]\nroutes = any")
    ready.write_text(text.replace("[agents]", f"[agents]\nports = {port}"))
    capsys.readouterr()
    assert _run("explain", "--probe", UNSEALED.replace("2003", str(port))) == 1
    out = capsys.readouterr().out
    assert "would be forwarded" in out
    assert "NO   probe" in out


def test_explain_without_an_id(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ready.write_text(INI.replace(f"id = {ID}", ""))
    assert _run("explain", UNSEALED) == 1
    assert "[proxy] id is not set" in capsys.readouterr().err


# register-info


def test_register_info(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ready.write_text(INI + "[listen]\naddresses = 10.1.2.3, ::1\n")
    capsys.readouterr()
    assert _run("register-info", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["agentProxyId"] == ID
    assert document["zones"] == ["default"]
    assert document["addresses"] == ["10.1.2.3:2002", "[::1]:2002"]
    pem = (ready.parent.parent / "var/tls/proxy.crt").read_text()
    import hashlib

    expected = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    assert document["certificateSha256"] == expected
    assert _run("register-info") == 0
    text = capsys.readouterr().out
    assert f"agent proxy ID       {ID}\n" in text
    assert "10.1.2.3:2002, [::1]:2002" in text


def test_register_info_without_an_id(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ready.write_text(INI.replace(f"id = {ID}", ""))
    assert _run("register-info") == 1
    assert "id is not set" in capsys.readouterr().err


def test_register_info_without_a_certificate(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("register-info") == 2
    assert "certificate self-signed" in capsys.readouterr().err


# certificate


def test_certificate_is_not_replaced_unasked(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ready.parent.parent / "var/tls/proxy.crt"
    before = path.read_bytes()
    assert _run("certificate", "self-signed") == 1
    assert "--force" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert _run("certificate", "self-signed", "--force", "--days", "7") == 0
    assert path.read_bytes() != before
    assert "Valid for 6 days" in capsys.readouterr().out


def test_certificate_for_a_bad_name(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("certificate", "self-signed", "--name", "a b") == 1
    assert _run("certificate", "request", "--name", "a b") == 1
    assert capsys.readouterr().err.count("neither a host name nor an address") == 2
    assert not (conf.parent.parent / "var").exists()


def test_show_certificate(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert _run("certificate", "show") == 0
    assert "names        proxy.example.com\n" in capsys.readouterr().out
    assert _run("certificate", "show", "var/tls/proxy.crt", "--json") == 0
    assert json.loads(capsys.readouterr().out)["days_left"] == 396
    assert _run("certificate", "show", "nowhere.pem") == 1
    assert _run("certificate", "show", "conf/proxy.ini") == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "agent-proxy: nowhere.pem cannot be read: No such file or directory"
    assert errors[1] == "agent-proxy: conf/proxy.ini is not a certificate in PEM form"


def _answer(root: Issued, key_file: Path) -> bytes:
    """Return what a CA would send back for the key that waits."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    return issue("proxy", root, key=key).pem + root.pem


def test_request_then_install(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tls = ready.parent.parent / "var/tls"
    in_use = (tls / "proxy.key").read_bytes()
    assert _run("certificate", "request", "--output", "a.csr") == 0
    assert Path("a.csr").read_text().startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert (tls / "proxy.key").read_bytes() == in_use
    assert (tls / "proxy.key.new").stat().st_mode & 0o777 == 0o600
    assert _run("certificate", "request") == 1
    assert "--force" in capsys.readouterr().err
    waiting = (tls / "proxy.key.new").read_bytes()
    Path("chain.pem").write_bytes(_answer(issue("Root", ca=True), tls / "proxy.key.new"))
    assert _run("certificate", "install", "chain.pem") == 0
    assert (tls / "proxy.key").read_bytes() == waiting
    assert not (tls / "proxy.key.new").exists()
    assert "SIGHUP" in capsys.readouterr().out


def test_request_goes_to_standard_output_alone(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("certificate", "request", "--name", "proxy.example.com") == 0
    said = capsys.readouterr()
    assert said.out.startswith("-----BEGIN CERTIFICATE REQUEST-----\n")
    assert said.out.endswith("-----END CERTIFICATE REQUEST-----\n")
    assert "certificate install" in said.err


def test_renewal_for_the_key_in_use(ready: Path) -> None:
    tls = ready.parent.parent / "var/tls"
    Path("chain.pem").write_bytes(_answer(issue("Root", ca=True), tls / "proxy.key"))
    assert _run("certificate", "install", "chain.pem") == 0


def test_install_says_everything_that_is_wrong(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expired = issue("old", begins_in_days=-9, ends_in_days=-2)
    Path("chain.pem").write_bytes(expired.pem)
    Path("other.key").write_bytes(issue("other").key_pem)
    assert _run("certificate", "install", "chain.pem", "--key", "other.key") == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "expired on" in errors[0]
    assert "does not belong" in errors[1]
    assert _run("certificate", "install", "nowhere.pem") == 1


def test_place_that_cannot_be_written(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (conf.parent.parent / "var").touch()
    assert _run("certificate", "self-signed") == 1
    assert _run("certificate", "request") == 1
    assert capsys.readouterr().err.count("cannot be written: ") == 2


def test_file_that_is_no_pem(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("big.pem").write_bytes(b"x" * ((1 << 20) + 1))
    assert _run("certificate", "install", "big.pem") == 1
    assert "no PEM file" in capsys.readouterr().err


# migrate


def test_migrate_to_standard_output(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("agentproxy.properties").write_text(
        f"upstreamHostPort=a.example.com:3302\nagentProxyId={ID}"
    )
    assert _run("migrate", "agentproxy.properties") == 0
    said = capsys.readouterr()
    assert "endpoint = a.example.com:3302" in said.out
    assert said.err


def test_migrate_never_overwrites(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("agentproxy.properties").write_text(f"agentProxyId={ID}")
    assert _run("migrate", "agentproxy.properties", "--output", "new/proxy.ini") == 0
    assert Path("new/proxy.ini").stat().st_mode & 0o007 == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "agent-proxy --conf new/proxy.ini check" in said.err
    assert _run("show", "--conf", "new/proxy.ini") == 0
    assert _run("migrate", "agentproxy.properties", "--output", str(conf)) == 1
    assert "exists already" in capsys.readouterr().err
    assert conf.read_text() == INI


def test_migrate_what_cannot_be_read(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("migrate", "nowhere.properties") == 1
    Path("big").write_bytes(b"x" * ((1 << 20) + 1))
    assert _run("migrate", "big") == 1
    Path("small").touch()
    assert _run("migrate", "small", "--output", "small/proxy.ini") == 1
    assert len(capsys.readouterr().err.splitlines()) == 3


# check


def test_check_prints_lines_and_fails(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("check", "--deadline", "5") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"PASS  configuration           {conf}"
    assert {line[:4] for line in lines} == {"PASS", "FAIL", "SKIP"}


def test_check_as_json(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("check", "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] is False
    assert document["checks"][0]["verdict"] == "PASS"
    assert all(one["remedy"] for one in document["checks"] if one["verdict"] == "FAIL")


# status


def _serving(answer: bytes) -> tuple[int, threading.Thread]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve() -> None:
        with listener:
            listener.settimeout(3)
            sock, _ = listener.accept()
            with sock:
                sock.recv(4096)
                sock.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return port, thread


def _status(conf: Path, answer: bytes, *words: str) -> int:
    port, thread = _serving(answer)
    conf.write_text(INI + f"[admin]\nport = {port}\n")
    try:
        return _run("status", *words)
    finally:
        thread.join(5)


def _json_answer(content: Any) -> bytes:
    body = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_status(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = _json_answer({"node": "left\x1b[2J", "ready": True})
    assert _status(conf, answer) == 0
    assert capsys.readouterr().out == "node   left\\x1b[2J\nready  yes\n"
    assert _status(conf, answer, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"node": "left\x1b[2J", "ready": True}


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\n\r\nhello", _json_answer([1])]
)
def test_status_of_something_else(
    conf: Path, capsys: pytest.CaptureFixture[str], answer: bytes
) -> None:
    assert _status(conf, answer) == 1
    assert "is no agent proxy" in capsys.readouterr().err


def test_status_without_workers(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    conf.write_text(INI + f"[admin]\nport = {port}\n")
    assert _run("status") == 1
    assert "supervisorctl status" in capsys.readouterr().err


def test_status_is_readable_whatever_is_in_it() -> None:
    document = {
        "uptimeSeconds": 1.5,
        "agentProxyId": None,
        "zones": ["default", "isolated-1"],
        "warnings": [],
        "requests": {"agent_to_platform": {"complete": 3}, "own": {}},
        "workers": [{"worker": 0, "draining": False}, {"worker": 1, "readyProblems": ["late"]}],
        "mixed": [["a"], "b"],
    }
    assert status_text.lines(document) == [
        "uptime seconds  1.5",
        "agent proxy id  -",
        "zones           default, isolated-1",
        "warnings        -",
        "",
        "requests",
        "  own  -",
        "  agent to platform",
        "    complete  3",
        "",
        "workers",
        "  worker  draining  ready problems",
        "  0       no        -",
        "  1       -         late",
        "",
        "mixed",
        "  a",
        "  b",
    ]


def test_status_of_wide_rows_is_turned_if_that_helps() -> None:
    few = [
        {"worker": number, "note": "x" * 40, "more": "y" * 40, "rest": "z" * 40}
        for number in (0, 1)
    ]
    many = [{f"field{column}": "x" * 30 for column in "abcd"} for _ in range(9)]
    assert status_text.lines({"workers": few}) == [
        "workers",
        "  worker  0" + " " * 41 + "1",
        "  note    " + "x" * 40 + "  " + "x" * 40,
        "  more    " + "y" * 40 + "  " + "y" * 40,
        "  rest    " + "z" * 40 + "  " + "z" * 40,
    ]
    assert len(status_text.lines({"errors": many})) == 11


def test_status_of_floats() -> None:
    assert status_text.lines({"load": 0.25, "share": {"a": {"b": []}}}) == [
        "load  0.25",
        "",
        "share",
        "  a",
        "    b  -",
    ]
