"""What the tools printed, as figures beside their targets. Pure; issue 6 section 2 has the targets.

A rule that fails must be named, with its reason, in docs/image.md: `explained` holds those names.
A container has the host's kernel: what that alone decides is told, and not judged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

CIS_PERCENT = 95.0
ANSSI_PERCENT = 85.0
LYNIS_INDEX = 88
EXPOSURE = 2.5
SET_UID = frozenset(
    {"/usr/bin/sudo", "/usr/lib/dbus-1.0/dbus-daemon-launch-helper", "/usr/sbin/unix_chkpwd"}
)
PROXY_PORT = 2002
# The proxy's, and the DHCP client's own: an answer to what the machine asked.
_PORTS = {("tcp", PROXY_PORT), ("udp", 68), ("udp", 546)}
# Of the container, not of the image: /tmp is systemd-nspawn's own; timesyncd and auditd do not run
# in one (ConditionVirtualization=, no audit in the kernel).
OF_CONTAINERS = frozenset({
    "mount_option_tmp_noexec", "service_timesyncd_enabled", "ntp_single_service_active",
    "service_auditd_enabled",
})  # fmt: skip
_RULE = re.compile(r"Title\s+(.*?)\s*\nRule\s+\S*?_rule_(\S+).*?\nResult\s+(\w+)", re.DOTALL)
_BAD = ("fail", "error", "unknown")


@dataclass(frozen=True)
class Figure:
    """One line of the judgement. `good` is None where nothing is judged here."""

    name: str
    value: str
    target: str
    good: bool | None
    rows: tuple[str, ...] = ()

    def __str__(self) -> str:
        word = {True: "pass", False: "FAIL", None: "-"}[self.good]
        first = f"{word:4}  {self.name}: {self.value} (target: {self.target})"
        return "\n".join([first, *(f"        {row}" for row in self.rows)])


@dataclass(frozen=True)
class Profile:
    """One OpenSCAP profile: how many rules had which result, and which did not pass."""

    results: Counter[str]
    failed: dict[str, str]  # rule: title

    @property
    def evaluated(self) -> int:
        return self.results["pass"] + sum(self.results[word] for word in _BAD)

    @property
    def percent(self) -> float:
        return 100 * self.results["pass"] / max(1, self.evaluated)


def sections(text: str) -> dict[str, str]:
    """Return what judge.sh printed, by the name of its section. Raises: ValueError if cut off."""
    parts = re.split(r"^==== (.*)$", text.replace("\r", ""), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    if "end" not in found:
        raise ValueError(f"judge.sh came as far as {list(found)[-1:]}")
    return found


def profile(text: str, left_out: Collection[str] = ()) -> Profile:
    """Read what `oscap xccdf eval` printed."""
    rows = [row for row in _RULE.findall(text) if row[1] not in left_out]
    bad = {rule: title for title, rule, result in rows if result in _BAD}
    return Profile(Counter(result for *_, result in rows), bad)


def judge(found: Mapping[str, str], *, explained: Collection[str], container: bool) -> list[Figure]:
    """Return every figure of what judge.sh said."""
    return [
        _scap(found, "cis_level1_server", CIS_PERCENT, explained, container=container),
        _scap(found, "anssi_bp28_intermediary", ANSSI_PERCENT, explained, container=container),
        _lynis(found["lynis"], container=container),
        _exposure(found["units"]),
        _ports(found["ports"], container=container),
        _set_uid(found["setuid"]),
        _nothing("left from the build: compilers, packages, histories", found["left"]),
        _kernel("AppArmor has the profile agent-proxy", r"^agent-proxy \(enforce\)",
                found["apparmor"], container=container),
        _confined(found["confined"], container=container),
        _kernel("kernel lockdown", r"\[(integrity|confidentiality)\]", found["lockdown"],
                container=container),
    ]  # fmt: skip


def _scap(
    found: Mapping[str, str],
    name: str,
    least: float,
    explained: Collection[str],
    *,
    container: bool,
) -> Figure:
    left_out = OF_CONTAINERS if container else frozenset[str]()
    one = profile(found[f"openscap {name}"], left_out)
    strange = [rule for rule in one.failed if rule not in explained]
    rows = [f"no reason in docs/image.md: {rule}: {one.failed[rule]}" for rule in strange]
    passed = one.results["pass"]
    value = f"{one.percent:.1f} %, {passed} of {one.evaluated} evaluated"
    good = one.evaluated > 0 and one.percent >= least and not strange
    target = f"at least {least:g} %, every failed rule with its reason"
    return Figure(f"OpenSCAP {name}", value, target, good, tuple(rows))


def _lynis(text: str, *, container: bool) -> Figure:
    """A container loses points for its kernel, its clock and its audit: told, not judged."""
    found = re.search(r"^hardening_index=(\d+)", text, re.MULTILINE)
    value = int(found[1]) if found else 0
    warnings = tuple(re.findall(r"^warning\[\]=(.*)", text, re.MULTILINE))
    good = None if container else value >= LYNIS_INDEX
    return Figure("Lynis hardening index", str(value), f"at least {LYNIS_INDEX}", good, warnings)


def _exposure(text: str) -> Figure:
    found = {name: float(value) for name, value in re.findall(r"for (\S+): ([\d.]+)", text)}
    worst = max(found, key=lambda name: found[name], default="")
    value = f"{found[worst]} ({worst}), {len(found)} units" if found else "no unit was judged"
    good = bool(found) and found[worst] <= EXPOSURE
    return Figure("exposure of the worst unit", value, f"at most {EXPOSURE}", good)


def _ports(text: str, *, container: bool) -> Figure:
    """A container was not set up, and so does not serve: there is nothing but others' ports."""
    rows = []
    serves = container
    for line in text.splitlines():
        words = line.split()
        if len(words) < 5:
            continue
        address, _, port = words[4].rpartition(":")
        one = (words[0], int(port))
        serves = serves or one == ("tcp", PROXY_PORT)
        if address.startswith(("127.", "[::1]")) or one in _PORTS:
            continue
        rows.append(line)
    target = f"none but loopback, {PROXY_PORT} and the DHCP client's"
    if not serves:
        rows.append(f"nothing listens on {PROXY_PORT}")
    return Figure("other open ports", str(len(rows)), target, not rows, tuple(rows))


def _set_uid(text: str) -> Figure:
    found = set(text.split())
    rows = [f"more: {name}" for name in sorted(found - SET_UID)]
    rows += [f"missing: {name}" for name in sorted(SET_UID - found)]
    return Figure("set-uid programs", str(len(found)), "the three named", not rows, tuple(rows))


def _nothing(name: str, text: str) -> Figure:
    rows = tuple(text.split("\n")) if text.strip() else ()
    rows = tuple(row for row in rows if row.strip())
    return Figure(name, str(len(rows)), "none", not rows, rows)


def _kernel(name: str, pattern: str, text: str, *, container: bool) -> Figure:
    found = re.search(pattern, text, re.MULTILINE)
    if container:
        return Figure(name, "the host's kernel", "yes", None)
    return Figure(name, found[0] if found else "no", "yes", found is not None)


def _confined(text: str, *, container: bool) -> Figure:
    """`text`: for each process of the proxy, the profile that it runs under, and its name."""
    name = "processes of the proxy under their profile"
    if container:
        return Figure(name, "the host's kernel", "all", None)
    rows = [line for line in text.splitlines() if line.strip()]
    free = tuple(row for row in rows if not row.startswith("agent-proxy (enforce) "))
    return Figure(
        name, f"{len(rows) - len(free)} of {len(rows)}", "all", bool(rows) and not free, free
    )


def updates(pending: Collection[str] | None, why_not: str = "") -> Figure:
    """`pending`: packages that Debian has a security update for; None where it was not asked."""
    name, target = "updates of Debian that are out, security's among them", "none"
    if pending is None:
        return Figure(name, f"SKIPPED, {why_not}", target, None)
    rows = tuple(sorted(pending))
    return Figure(name, str(len(rows)), target, not rows, rows)


def identities(paths: Collection[str]) -> Figure:
    """`paths`: what was found in the image that each machine must make for itself."""
    rows = tuple(sorted(paths))
    return Figure("keys, passwords, machine-id, logs", str(len(rows)), "none", not rows, rows)


def vulnerabilities(text: str | None, why_not: str = "") -> Figure:
    """`text`: what `debsecan --only-fixed` printed; None where its data could not be had."""
    name, target = "debsecan: fixable, of high urgency", "none"
    if text is None:
        return Figure(name, f"SKIPPED, {why_not}", target, None)
    rows = tuple(line for line in text.splitlines() if "high urgency" in line)
    return Figure(name, str(len(rows)), target, not rows, rows)
