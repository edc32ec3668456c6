"""Figures of the image, read from what the tools print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image import figures, kernel, scans

_OSCAP = """\
Title   Install AIDE
\r
Rule    xccdf_org.ssgproject.content_rule_package_aide_installed
Ident   CCE-1

Result  fail

Title
\tEnsure /tmp
Rule    xccdf_org.ssgproject.content_rule_mount_option_tmp_noexec

Result  fail

Title
\tBanner
Rule    xccdf_org.ssgproject.content_rule_banner

Result  pass

Title
\tSomething else
Rule    xccdf_org.ssgproject.content_rule_other

Result  notapplicable
"""


def test_a_profile_counts_what_was_evaluated_only() -> None:
    one = figures.profile(_OSCAP.replace("\r", ""))
    assert one.evaluated == 3
    assert one.failed == {
        "package_aide_installed": "Install AIDE",
        "mount_option_tmp_noexec": "Ensure /tmp",
    }
    assert one.percent == pytest.approx(33.3, abs=0.1)


def test_what_a_container_cannot_show_is_left_out_there() -> None:
    assert figures.profile(_OSCAP, figures.OF_CONTAINERS).evaluated == 2


def _said(**other: str) -> dict[str, str]:
    passed = "".join(f"Title   T{n}\nRule    x_rule_r{n}\n\nResult  pass\n\n" for n in range(20))
    found = {
        "openscap cis_level1_server": passed,
        "openscap anssi_bp28_intermediary": passed,
        "lynis": "hardening_index=88\n",
        "units": "→ Overall exposure level for a.service: 2.4 OK :-)\n",
        "ports": "tcp LISTEN 0 5 127.0.0.53%lo:53 0.0.0.0:* users\n"
        "tcp LISTEN 0 5 0.0.0.0:2002 0.0.0.0:* users\n",
        "setuid": "\n".join(figures.SET_UID),
        "left": "\n",
        "apparmor": "agent-proxy (enforce)\n",
        "confined": "agent-proxy (enforce) supervisord\nagent-proxy (enforce) agent-proxy\n",
        "lockdown": "none [integrity] confidentiality\n",
    }
    return found | {name.replace("_", " ", 1): text for name, text in other.items()}


def _missed(explained: tuple[str, ...] = (), **other: str) -> list[str]:
    rows = figures.judge(_said(**other), explained=explained, container=False)
    return [row.name for row in rows if row.good is not True]


def test_a_good_image_passes_everything() -> None:
    assert _missed() == []


@pytest.mark.parametrize(
    ("section", "text", "name"),
    [
        ("lynis", "hardening_index=87\n", "Lynis hardening index"),
        ("lynis", "", "Lynis hardening index"),
        ("units", "→ Overall exposure level for a.service: 2.6 OK\n", "exposure of the worst unit"),
        ("units", "", "exposure of the worst unit"),
        ("ports", "udp UNCONN 0 0 [::]:5355 [::]:* x\n", "other open ports"),
        ("ports", "tcp LISTEN 0 5 10.1.2.3:22 0.0.0.0:* x\n", "other open ports"),
        ("setuid", "/usr/bin/su\n", "set-uid programs"),
        ("left", "/usr/bin/gcc\n", "left from the build: compilers, packages, histories"),
        ("ports", "udp UNCONN 0 0 0.0.0.0:2002 0.0.0.0:* x\n", "other open ports"),
        ("apparmor", "agent-proxy (complain)\n", "AppArmor has the profile agent-proxy"),
        ("confined", "", "processes of the proxy under their profile"),
        (
            "confined",
            "agent-proxy (enforce) agent-proxy\nunconfined agent-proxy\n",
            "processes of the proxy under their profile",
        ),
        ("lockdown", "[none] integrity\n", "kernel lockdown"),
        ("openscap_cis_level1_server", "", "OpenSCAP cis_level1_server"),
    ],
)
def test_each_miss_is_seen(section: str, text: str, name: str) -> None:
    assert _missed(**{section: text}) == [name]


def test_a_failed_rule_needs_its_reason_even_above_the_target() -> None:
    text = (
        _said()["openscap cis_level1_server"] + "Title   A\nRule    x_rule_aide\n\nResult  fail\n"
    )
    assert _missed(openscap_cis_level1_server=text) == ["OpenSCAP cis_level1_server"]
    assert _missed(("aide",), openscap_cis_level1_server=text) == []


def test_a_container_does_not_judge_the_kernel_of_its_host() -> None:
    rows = figures.judge(_said(apparmor="", lockdown=""), explained=(), container=True)
    assert [row.name for row in rows if row.good is False] == []
    assert [row.name for row in rows if row.good is None] == [
        "Lynis hardening index",
        "AppArmor has the profile agent-proxy",
        "processes of the proxy under their profile",
        "kernel lockdown",
    ]


def test_output_that_was_cut_off_is_no_judgement() -> None:
    assert figures.sections("==== lynis\nx\n==== end\n")["lynis"] == "\nx\n"
    with pytest.raises(ValueError, match="lynis"):
        figures.sections("==== lynis\nx\n")


def test_debsecan_counts_what_is_urgent_and_says_when_it_could_not_ask() -> None:
    text = "CVE-1 (high urgency, fixed)\nCVE-2 (low urgency)\n"
    assert figures.vulnerabilities(text).good is False
    assert figures.vulnerabilities("").good is True
    assert "SKIPPED, no network" in str(figures.vulnerabilities(None, "no network"))


def test_identities_and_logs_in_an_image_are_found(tmp_path: Path) -> None:
    for folder in ("etc/ssh", "var/log/x", "opt/agent-proxy/var"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/machine-id").write_text("")
    (tmp_path / "etc/shadow").write_text("root:!*:1::::::\n")
    (tmp_path / "var/log/x/empty.log").write_text("")
    assert scans.made_before(tmp_path) == []
    (tmp_path / "etc/machine-id").write_text("0123\n")
    (tmp_path / "etc/ssh/ssh_host_ed25519_key").write_text("k")
    (tmp_path / "etc/shadow").write_text("operator:$y$x:1::::::\n")
    (tmp_path / "var/log/x/full.log").write_text("line")
    (tmp_path / "opt/agent-proxy/var/secret").write_text("s")
    assert set(scans.made_before(tmp_path)) == {
        "etc/machine-id",
        "etc/ssh/ssh_host_ed25519_key",
        "etc/shadow: a password of operator",
        "opt/agent-proxy/var/secret",
        "var/log/x/full.log",
    }


def test_the_kernel_is_shown_as_the_files_set_it(tmp_path: Path) -> None:
    real, folder = tmp_path / "real", tmp_path / "copy"
    for name in ("net/ipv4/conf/all/rp_filter", "net/ipv4/conf/eth0.1/rp_filter", "kernel/x"):
        (real / name).parent.mkdir(parents=True, exist_ok=True)
        (real / name).write_text("0\n")
    kernel.copy(real, folder)
    text = """\
# /usr/lib/sysctl.d/50-default.conf
net.ipv4.conf.*.rp_filter = 1
-net.ipv4.conf.all.rp_filter = 2
kernel.x = 1
kernel/x = 3
kernel.only.there=4
"""
    kernel.place(folder, kernel.settings(text))
    assert (folder / "net/ipv4/conf/all/rp_filter").read_text() == "2\n"
    assert (folder / "net/ipv4/conf/eth0.1/rp_filter").read_text() == "1\n"
    assert (folder / "kernel/x").read_text() == "3\n"
    assert (folder / "kernel/only/there").read_text() == "4\n"
