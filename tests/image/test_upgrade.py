"""A machine of the image is upgraded to a newer build, and goes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy import __version__
from tests.appliance import base
from tests.appliance.releases import Publisher
from tests.image.conftest import ANSWERS, Started, built, serves
from tests.image.node import Node
from tests.image.seeds import nocloud, volume
from tests.lab.cast import Lab

pytestmark = pytest.mark.deadline(3600)

_NEWER = "0.9.7"


@pytest.fixture(scope="module")
def node(lab: Lab, machines: Started, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("release")
    publisher = Publisher(folder / "keys", base.wheels("trixie"))
    (folder / "new").write_bytes(publisher.release(_NEWER))
    (folder / "key").write_bytes(publisher.public_key)
    files = {"new.release": folder / "new", "publisher.pub": folder / "key"}
    size_mib = 8 + ((folder / "new").stat().st_size >> 20)
    medium = volume(folder / "release.img", "RELEASE", files, size_mib)
    drive = f"file={medium},format=raw,if=none,id=release,readonly=on"
    extra = ["-drive", drive, "-device", "virtio-blk-pci,drive=release"]
    made = Node(machines("node", built("agent-proxy-*.qcow2")), lab, extra)
    made.start(nocloud(folder / "seed.img", {**ANSWERS, "proxy.id": "45BCEBB32AA9"}))
    yield made


def test_an_upgrade_to_a_newer_build_and_back(node: Node, lab: Lab) -> None:
    serves(lab, "before")
    node.run("mkdir", "-p", "/run/release", "/etc/agent-proxy/release-keys")
    node.run("mount", "-o", "ro", "LABEL=RELEASE", "/run/release")
    node.run("cp", "/run/release/publisher.pub", "/etc/agent-proxy/release-keys/publisher.pub")
    node.run("cp", "/run/release/new.release", "/var/lib/agent-proxy/new.release")
    node.until_ready()
    install = ("upgrade", "install", "--yes", "/var/lib/agent-proxy/new.release")
    said = node.appliance(*install, patience_s=1200)
    assert f"in force: {_NEWER}" in said, said
    node.until_ready()
    serves(lab, "upgraded")
    assert lab.order("POST", "/register")["version"] == _NEWER
    node.appliance("upgrade", "rollback", "--yes", patience_s=600)
    node.until_ready()
    serves(lab, "rolled-back")
    assert lab.order("POST", "/register")["version"] == __version__
