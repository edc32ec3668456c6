"""Fetches answers of the first boot: files, volumes, the hypervisor, the cloud's metadata service.

Shell. Neighbours: `answers_file` reads what is fetched, `first_boot` asks for it.

In this order, and the first that has any answers is taken; words on the kernel command line are
added to it and go before it:
    /var/lib/agent-proxy/seed   user-data, meta-data or ovf-env.xml that an image was given
    VMware                      guestinfo.ovfEnv, guestinfo.userdata
    volumes                     labels cidata (NoCloud) and config-2 (OpenStack config drive), and
                                any CD with ovf-env.xml
    metadata by HTTP            OpenStack at 169.254.169.254, CloudStack at the DHCP server, whose
                                password server is asked as well; only where the machine's own
                                firmware says that it is one of these, since anybody on a network
                                could answer otherwise

Volumes are read by bsdtar and mtools as files: nothing is mounted, so that no file system of an
unknown hand reaches the kernel, and no privilege beyond reading the device is needed.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from appliance import answers_file, readings
from appliance.answers_file import Values
from appliance.system import System

__all__ = ["SEED", "Found", "find", "get", "password"]

SEED: Final = "/var/lib/agent-proxy/seed"
_LEASES: Final = "/run/systemd/netif/leases"
_DMI: Final = ("/sys/class/dmi/id/product_name", "/sys/class/dmi/id/sys_vendor")
_OPENSTACK: Final = "169.254.169.254"
_PORT: Final = 80
_PASSWORD_PORT: Final = 8080
# What CloudStack's password server says where there is none (any more).
_NO_PASSWORD: Final = (b"", b"bad_request", b"saved_password")
_HTTP_S: Final = 5.0
_LIMIT_BYTES: Final = 128 << 10
_USER_DATA: Final = ("user-data", "openstack/latest/user_data")
_META_DATA: Final = ("meta-data", "openstack/latest/meta_data.json")
_PASSWORD: Final = "console.password"
_LABELS: Final = ("cidata", "config-2")

Get = Callable[[str, str], bytes]
"""Host and path -> what an HTTP server there answers; b"" where there is nothing."""

Password = Callable[[str, str], bytes]
"""Host and request -> what CloudStack's password server answers."""


class Found(NamedTuple):
    """Answers and where they come from. `hostname` is what meta-data calls the machine.

    `password_from` is the server to be told once the password it gave is set: it forgets it then.
    """

    values: Values
    source: str
    hostname: str = ""
    password_from: str = ""


def password(host: str, request: str) -> bytes:
    """Ask CloudStack's password server: "send_my_password", or tell it "saved_password"."""
    return _fetched(host, _PASSWORD_PORT, "/", {"DomU_Request": request}).strip()


def find(system: System, get: Get, password: Password = password) -> Found:
    """Return the answers there are; none is well, too. Raises: Problems for those that are bad."""
    kernel = answers_file.from_kernel(system.read("/proc/cmdline") or b"", "kernel command line")
    for source in (_seed, _vmware, _volumes):
        found = source(system)
        if found is not None and found.values:
            return _with(found, kernel)
    found = _metadata(system, get, password)
    return _with(found or Found({}, ""), kernel)


def get(host: str, path: str) -> bytes:
    """Return what a metadata service answers, b"" for anything but 200 within 5 s."""
    return _fetched(host, _PORT, path, {})


def _fetched(host: str, port: int, path: str, headers: dict[str, str]) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=_HTTP_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        content = answer.read(_LIMIT_BYTES)
        return content if answer.status == http.HTTPStatus.OK else b""
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


def _with(found: Found, kernel: Values) -> Found:
    if not kernel:
        return found
    source = f"{found.source} and kernel command line" if found.values else "kernel command line"
    return found._replace(values={**found.values, **kernel}, source=source)


def _seed(system: System) -> Found | None:
    return _from_files(lambda name: system.read(f"{SEED}/{name}") or b"", SEED)


def _from_files(read: Callable[[str], bytes], source: str) -> Found | None:
    """Return the answers among files that `read` gives by name; None where there are none."""
    environment = read("ovf-env.xml")
    if environment:
        values = answers_file.from_ovf(environment, f"{source} ovf-env.xml")
        if values:
            return Found(values, f"{source} (OVF)")
    for user, meta in zip(_USER_DATA, _META_DATA, strict=True):
        content = read(user)
        if content:
            values = answers_file.from_user_data(content, f"{source} {user}")
            name = answers_file.host_name(read(meta), f"{source} {meta}")
            return Found(values, f"{source} ({user})", name)
    return None


def _vmware(system: System) -> Found | None:
    environment = _guestinfo(system, "ovfEnv")
    if environment:
        values = answers_file.from_ovf(environment, "guestinfo.ovfEnv")
        if values:
            return Found(values, "VMware (guestinfo.ovfEnv)")
    content = _guestinfo(system, "userdata")
    if content:
        if _guestinfo(system, "userdata.encoding").strip() in (b"base64", b"b64"):
            try:
                content = base64.b64decode(content)
            except binascii.Error:
                return None
        values = answers_file.from_user_data(content, "guestinfo.userdata")
        return Found(values, "VMware (guestinfo.userdata)")
    return None


def _guestinfo(system: System, name: str) -> bytes:
    done = system.ask(("vmware-rpctool", f"info-get guestinfo.{name}"))
    return done.out.encode() if done.code == 0 else b""


def _volumes(system: System) -> Found | None:
    done = system.ask(("lsblk", "--json", "--paths", "--output", "PATH,FSTYPE,LABEL,TYPE"))
    for path, kind, label in _candidates(system, done.out):
        found = _from_files(_reader(system, path, kind), f"volume {label or path}")
        if found is not None and found.values:
            return found
    return None


def _candidates(system: System, text: str) -> list[tuple[str, str, str]]:
    """Return path, file system and label of volumes that may hold answers."""
    try:
        tops: list[dict[str, Any]] = json.loads(text or "{}").get("blockdevices", [])
    except ValueError:
        return []
    found = []
    pending = list(tops)
    while pending:  # Any: what lsblk writes as JSON
        one = pending.pop(0)
        pending += one.get("children") or []
        kind, label = str(one.get("fstype") or ""), str(one.get("label") or "")
        if not kind and not one.get("children"):
            # lsblk knows only what udev has found out, which may not have come to it yet.
            probed = system.ask(("blkid", "--probe", "--output", "export", str(one["path"])))
            known = readings.properties(probed.out)
            kind, label = known.get("TYPE", ""), known.get("LABEL", "").replace("\\ ", " ")
        if kind in ("iso9660", "udf") or (kind == "vfat" and label.lower() in _LABELS):
            found.append((str(one["path"]), kind, label))
    return found


def _reader(system: System, path: str, kind: str) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        if kind == "vfat":
            done = system.ask(("mcopy", "-n", "-i", path, f"::{name}", "-"))
        else:
            done = system.ask(("bsdtar", "-x", "-O", "-f", path, name))
        return done.out.encode() if done.code == 0 else b""

    return read


def _metadata(system: System, get: Get, password: Password) -> Found | None:
    firmware = b" ".join(system.read(path) or b"" for path in _DMI).decode(errors="replace")
    if "OpenStack" in firmware:
        return _from_files(
            lambda name: _below(get, _OPENSTACK, "openstack/latest/", name), "OpenStack"
        )
    if "CloudStack" in firmware:
        for server in _dhcp_servers(system):
            content = get(server, "/latest/user-data")
            if content:
                values = answers_file.from_user_data(content, f"CloudStack at {server}")
                name = get(server, "/latest/local-hostname").decode(errors="replace").strip()
                source = f"CloudStack (metadata at {server})"
                found = Found(values, source, name.partition(".")[0])
                return _with_password(found, server, password) if values else found
    return None


def _with_password(found: Found, server: str, password: Password) -> Found:
    """What user data says of the password goes before what the password server gives."""
    if _PASSWORD in found.values:
        return found
    given = password(server, "send_my_password")
    if given in _NO_PASSWORD:
        return found
    values = {**found.values, _PASSWORD: given.decode(errors="replace")}
    return found._replace(values=values, password_from=server)


def _below(get: Get, host: str, prefix: str, name: str) -> bytes:
    return get(host, f"/{name}") if name.startswith(prefix) else b""


def _dhcp_servers(system: System) -> list[str]:
    found = []
    for name in system.list(_LEASES):
        for line in (system.read(f"{_LEASES}/{name}") or b"").decode().splitlines():
            if line.startswith("SERVER_ADDRESS="):
                found.append(line.partition("=")[2].strip())
    return found
