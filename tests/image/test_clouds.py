"""The builders that cannot run here are judged by Packer: their values, and every file they name.

OpenStack's builder asks for a token before it judges anything, so a stand-in gives it one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PACKER = Path(__file__).parents[2] / "packer"
pytestmark = [
    pytest.mark.skipif(shutil.which("packer") is None, reason="packer is not installed"),
    pytest.mark.deadline(300),
]
_SECRET = "a password of nobody"


class _Keystone(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        asked = json.loads(self.rfile.read(length))
        user = asked["auth"]["identity"]["password"]["user"]
        known = self.path == "/v3/auth/tokens" and user["password"] == _SECRET
        kinds = {"compute": "nova", "image": "glance", "network": "neutron"}
        base = f"http://127.0.0.1:{self.server.server_address[1]}"
        catalog = [
            {
                "type": kind,
                "name": name,
                "id": name,
                "endpoints": [
                    {"id": name, "interface": "public", "region": "R", "region_id": "R",
                     "url": f"{base}/{name}/"}
                ],
            }
            for kind, name in kinds.items()
        ]  # fmt: skip
        token = {
            "token": {"expires_at": "2099-01-01T00:00:00.000000Z", "methods": ["password"],
                      "catalog": catalog, "user": {"id": "u", "name": "u"}}
        }  # fmt: skip
        body = json.dumps(token if known else {"error": {"code": 401}}).encode()
        self.send_response(201 if known else 401)
        self.send_header("X-Subject-Token", "t")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def keystone() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Keystone)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v3"
    server.shutdown()
    thread.join()
    server.server_close()


def validate(home: Path, only: str, auth: str, *more: str) -> subprocess.CompletedProcess[str]:
    for name in ("product.tar", "disk.qcow2"):
        (home / name).touch()
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "build")], check=True
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CHECKPOINT_DISABLE": "1",
        "PKR_VAR_vsphere_password": _SECRET,
        "PKR_VAR_build_key_pub": (home / "build.pub").read_text().strip(),
        "OS_AUTH_URL": auth,
        "OS_USERNAME": "u",
        "OS_PASSWORD": _SECRET,
        "OS_PROJECT_NAME": "p",
        "OS_DOMAIN_NAME": "d",
    }
    words = ["packer", "validate", f"-only={only}", "-var", f"work={home}"]
    words += ["-var", f"output={home / 'out'}", "-var", f"product={home / 'product.tar'}"]
    words += ["-var", f"build_key={home / 'build'}", *more, str(PACKER)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)


def _file(name: str) -> str:
    return f"-var-file={PACKER / 'targets' / name}.pkrvars.hcl"


@pytest.mark.parametrize(
    ("only", "target"),
    [("openstack.appliance", "openstack"), ("vsphere-clone.appliance", "vsphere")],
)
def test_a_target_s_values_are_all_that_its_builder_needs(
    tmp_path: Path, keystone: str, only: str, target: str
) -> None:
    # The last one counts: the file's key is an example.
    key = ["-var", f"build_key={tmp_path / 'build'}"]
    done = validate(tmp_path, only, keystone, _file(target), *key)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("only", ["openstack.appliance", "vsphere-clone.appliance"])
def test_a_value_that_is_missing_is_named(tmp_path: Path, keystone: str, only: str) -> None:
    done = validate(tmp_path, only, keystone)
    assert done.returncode == 1
    wanted = {"openstack.appliance": "flavor", "vsphere-clone.appliance": "vcenter_server"}[only]
    assert wanted in done.stdout + done.stderr


def test_the_builder_that_runs_here_needs_no_target(tmp_path: Path) -> None:
    done = validate(tmp_path, "qemu.appliance", "")
    assert done.returncode == 0, done.stdout + done.stderr


def test_templates_are_in_packer_s_own_format() -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/root", "CHECKPOINT_DISABLE": "1"}
    for place in (PACKER, *sorted((PACKER / "targets").glob("*.hcl"))):
        words = ["packer", "fmt", "-check", "-diff", str(place)]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
