"""A support bundle holds no secret: canaries are planted everywhere and looked for in all files."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from appliance import access_log, bundle, cli, scrub
from appliance.places import CONF
from appliance.system import Completed, Fetched
from proxy import certificates
from tests.unit.appliance.machines import Machine, recorded

_SECRET = "canary-proxy-secret-0123456789abcdef"
_OLD = "canary-previous-secret-0123456789abc"
_PASSWORD = "canary-http-password"
_SESSION = "canarysession"  # in a query, a header, a body: not known as a secret to anybody
_CANARIES = (_SECRET, _OLD, _PASSWORD, _SESSION, "canary")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A node with canaries wherever one could get into a bundle."""
    made = recorded(tmp_path)
    base = "/opt/agent-proxy"
    text = (made.read(CONF) or b"").decode()
    text = text.replace("# secret_file =", "secret_file = var/secret")
    text = text.replace("# previous_secret =", f"previous_secret = {_OLD}")
    text = text.replace("# http_proxy_password =", f"http_proxy_password = {_PASSWORD}")
    text = text.replace("http_proxy_user =", "http_proxy_user = ap")
    text = text.replace("http_proxy =", "http_proxy = http://10.1.2.9:3128")
    made.write(CONF, f"# canary in a comment\n{text}".encode())
    made.write(f"{base}/var/secret", _SECRET.encode())
    certificate, key = certificates.self_signed(["proxy.example.com"], 30)
    made.write(f"{base}/var/tls/proxy.crt", certificate)
    made.write(f"{base}/var/tls/proxy.key", key)
    made.write(f"{base}/var/tls/proxy.key.new", b"canary-waiting-key")
    made.write(f"{base}/var/stray", b"canary-stray")
    made.write(f"{base}/var/log/core.dump", b"canary-dump")
    made.write("/var/lib/agent-proxy/console.json", b'{"password": "canary-hash"}')
    made.write("/var/lib/agent-proxy/backups/b.backup", b"canary-backup")
    made.write("/etc/shadow", b"canary-shadow")
    access = {"keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA canary@example.com"]}
    made.write("/etc/agent-proxy/appliance.json", json.dumps({"access": access}).encode())
    leaked = [
        f"ERROR the secret is {_SECRET}, in hex {_SECRET.encode().hex()}",
        f"in base64 {base64.b64encode(_OLD.encode()).decode()}",
        f"Proxy-Authorization: Basic {_SESSION}",
        f"Cookie: session={_SESSION}; other={_SESSION}",
        f'{{"token": "{_SESSION}"}}',
        f"GET /handshake?token={_SESSION}&x={_SESSION} HTTP/1.1",
        f"http://user:{_PASSWORD}@10.1.2.9:3128 refused",
        f"password={_SESSION}",
        key.decode(),
    ]
    made.write(f"{base}/var/log/worker-0.log", "\n".join(leaked).encode())
    line = "time=2026-11-24T03:31:22.450Z id=1 caller=agent source=10.0.0.2 zone=default "
    line += f"target=/x?{_SESSION} status=200 ms=1.0 end=complete token={_SESSION}\n"
    made.write(f"{base}/var/log/access-0.log", line.encode())
    made.answers["journalctl -t agent-proxy-audit -n 500 --no-pager"] = Completed(
        0, "\n".join(leaked), ""
    )
    made.answers["ss -H -ltnp"] = Completed(1, "", f"secret={_SESSION}")
    made.pages["/status"] = Fetched(200, json.dumps({"ready": True, "e": leaked}).encode())
    made.pages["/metrics"] = Fetched(200, f"x {_SECRET}\n".encode())
    return made


def opened(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as tar:
        files = {}
        for member in tar.getmembers():
            read = tar.extractfile(member)
            assert read is not None
            files[member.name.partition("/")[2]] = read.read()
        return files


def test_no_canary_is_in_any_file(machine: Machine) -> None:
    key = machine.read("/opt/agent-proxy/var/tls/proxy.key") or b""
    files = opened(bundle.packed(bundle.collect(machine, CONF, []), "x", 0))
    looked_for = [form.lower().encode() for one in _CANARIES for form in scrub.forms(one)]
    looked_for += [line for line in key.splitlines() if not line.startswith(b"-----")]
    assert len(files) > 15
    for name, content in files.items():
        for canary in looked_for:
            assert canary not in content, (name, canary)
            assert canary not in content.lower(), (name, canary)


def test_the_canaries_would_be_found(machine: Machine) -> None:
    """The test above can fail: what is collected did hold them before it was scrubbed."""
    log = (machine.read("/opt/agent-proxy/var/log/worker-0.log") or b"").decode()
    assert _SECRET in log and "PRIVATE KEY" in log
    assert "canary" not in scrub.scrubbed(log, [_SECRET, _OLD, _PASSWORD])
    assert base64.b64encode(_OLD.encode()).decode() in scrub.scrubbed(log, [])
    assert "canary" in (machine.read(CONF) or b"").decode()


def test_what_helps_is_there(machine: Machine) -> None:
    files = bundle.collect(machine, CONF, [])
    about = json.loads(files["about.json"])
    assert about["files"].keys() == files.keys() - {"about.json"}
    assert b"port = 2002" in files["settings.ini"]
    assert b"secret = ********" in files["settings.ini"]
    assert json.loads(files["facts.json"])["configured"] == {
        "secret": True,
        "previousSecret": True,
        "httpProxyPassword": True,
    }
    assert json.loads(files["appliance.json"])["access"]["keys"] == ["ssh-ed25519"]
    assert files["log/access-0.log"].startswith(b"time=2026-11-24T03:31:22.450Z caller=agent ")
    assert b"target=?" in files["log/access-0.log"]
    assert b"10.1.2.3" in files["addresses.json"]


def test_only_what_is_listed_is_read(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file beside the others changes nothing."""
    before = bundle.collect(machine, CONF, []).keys()
    for path in ("var/log/worker-0.log.1", "var/log/new.txt", "conf/extra.ini", "var/tls/x.pem"):
        machine.write(f"/opt/agent-proxy/{path}", b"canary-new")
    assert bundle.collect(machine, CONF, []).keys() == before


def test_a_node_whose_settings_are_wrong_gets_one_too(machine: Machine) -> None:
    machine.write(CONF, f"[proxy]\nsecret = {_SECRET}\nsecrt = {_SECRET}\n[nope]\n".encode())
    machine.write("/etc/agent-proxy/appliance.json", b'{"acess": "canary"}')
    machine.write("/opt/agent-proxy/var/log/worker-0.log", f"leaked {_SECRET}".encode())
    files = bundle.collect(machine, CONF, [])
    assert files["log/worker-0.log"] == b"leaked ********"
    assert b"cannot be read" in files["settings.ini"]
    assert json.loads(files["appliance.json"]) == {"problems": ["acess"]}
    assert _SECRET.encode() not in files["settings.ini"]


def test_the_verb_keeps_five(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(7):
        machine.time += 1
        assert cli.main(["bundle", "--json"], machine) == 0, number
        path = json.loads(capsys.readouterr().out)["file"]
    kept = machine.list("/var/lib/agent-proxy/bundles")
    assert len(kept) == 5 and path.endswith(kept[-1])
    entry = machine.entry(path)
    assert entry is not None and entry.mode == 0o600


def test_scrubbing_leaves_the_rest() -> None:
    text = "WARNING worker 0: upstream 10.1.2.3:3302 refused the connection; 3 retries, 12.5 ms"
    assert scrub.scrubbed(text, [_SECRET, "ms"]) == text


def test_access_lines_plain_and_json() -> None:
    plain = "time=2 id=x caller=platform source=8.7.6.5 zone=default target=registration status=200"
    as_json = json.dumps(dict(word.split("=") for word in plain.split()) | {"time": "1"})
    found = access_log.parse(f"{plain}\n{as_json}\nbroken line\n{{\n\n")
    assert [one.time for one in found] == ["1", "2"]
    assert all(one.is_registration and not one.is_tunnel for one in found)
