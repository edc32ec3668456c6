"""Each assertion of 90-verify.sh passes in the image, and fails when its measure is taken away.

The image's file system is mounted under an overlay, weakened there, and judged again, in a
namespace whose /proc/sys has the values that the image's own files give. It has no host keys,
without which sshd says nothing of its settings: the overlay gets some.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.conftest import ROOT, built
from tests.image.scans import mounted

pytestmark = pytest.mark.deadline(900)

# What takes a measure away, and the assertion that must then fail.
WEAKENED = {
    "sysctl kernel.kptr_restrict": "sed -i /kptr_restrict/d etc/sysctl.d/60-agent-proxy.conf; "
    "echo kernel.kptr_restrict=0 >etc/sysctl.d/99-worse.conf",
    "sysctl net.ipv4.ip_forward": "echo net.ipv4.ip_forward=1 >>etc/sysctl.d/99-worse.conf",
    "module usb-storage": "sed -i /usb-storage/d etc/modprobe.d/hardening.conf",
    "module sctp": "sed -i /sctp/d etc/modprobe.d/hardening.conf",
    "kernel line has lockdown=integrity": "sed -i 's/ lockdown=integrity//' boot/grub/grub.cfg",
    "kernel line has apparmor=1": "sed -i 's/ apparmor=1//' boot/grub/grub.cfg",
    "boot entries are changed by a superuser only": "sed -i /superusers/d boot/grub/grub.cfg",
    "and nobody has the superuser's password": "sed -i s/00000000/4711/ boot/grub/grub.cfg",
    "every kernel is started by anybody": "sed -i 's/ --unrestricted//' boot/grub/grub.cfg",
    "an update's entries are started by anybody": "sed -i 's/--unrestricted//' "
    "etc/grub.d/10_linux",
    "an update's entries are changed by nobody": "chmod a-x etc/grub.d/01_locked",
    "/tmp without devices, set-uid and programs": "sed -i '\\:^tmpfs /tmp:d' etc/fstab",
    "/dev without set-uid and programs": "sed -i '/^devtmpfs/d' etc/fstab",
    "/var/log without devices, set-uid and programs": "sed -i '\\:^/var/log /:d' etc/fstab",
    "/opt without devices and set-uid": "sed -i '\\:^/opt:s/,nosuid//' etc/fstab",
    "processes of others are hidden": "sed -i s/hidepid=invisible/hidepid=0/ etc/fstab",
    "root has no password": "sed -i 's/^root:[^:]*/root:x/' etc/shadow",
    "an account has a password": "echo 'guest:$y$j9T$x$y:1::::::' >>etc/shadow",
    "lock-out counts": "sed -i /authfail/d etc/pam.d/common-auth",
    "lock-out asks first": "sed -i /preauth/d etc/pam.d/common-auth",
    "lock-out after 3": "sed -i 's/^deny = 3/deny = 30/' etc/security/faillock.conf",
    "a success is the end of it": "sed -i /pam_faillock/d etc/pam.d/common-account",
    "passwords cost to be tried": "sed -i 's/ rounds=11//' etc/pam.d/common-password",
    "password quality minlen = 15": "sed -i /minlen/d etc/security/pwquality.conf",
    "nobody may su": "sed -i /pam_wheel/d etc/pam.d/su",
    "root may log in nowhere": "rm etc/securetty",
    "login.defs UMASK 027": "sed -i 's/^UMASK.*/UMASK 022/' etc/login.defs",
    "unused accounts end": "sed -i /INACTIVE=30/d etc/default/useradd",
    "shells end by themselves": "sed -i /TMOUT/d etc/profile.d/hardening.sh",
    "umask in /etc/profile": "sed -i /umask/d etc/profile",
    "banner in /etc/issue": ": >etc/issue",
    "sudo noexec": "sed -i '/^Defaults noexec/d' etc/sudoers.d/10-hardening",
    "sudo gives anybody everything": "echo '%sudo ALL=(ALL:ALL) ALL' >>etc/sudoers",
    "sudoers.d is root's": "chmod 755 etc/sudoers.d",
    "sshd permitrootlogin no": "sed -i 's/^PermitRootLogin no/PermitRootLogin yes/' "
    "etc/ssh/sshd_config",
    "sshd allowusers operator": "sed -i /^AllowUsers/d etc/ssh/sshd_config",
    "sshd has an old cipher, MAC or key exchange": "sed -i 's/^Ciphers .*/&,aes128-cbc/' "
    "etc/ssh/sshd_config",
    "sshd_config is root's": "chmod 644 etc/ssh/sshd_config",
    "SSH is off": "mkdir -p etc/systemd/system/multi-user.target.wants && "
    "ln -sf /usr/lib/systemd/system/ssh.service etc/systemd/system/multi-user.target.wants/",
    "journal is kept": "sed -i s/=persistent/=volatile/ etc/systemd/journald.conf "
    "etc/systemd/journald.conf.d/agent-proxy.conf",
    "logs are kept a second time, without bound": "echo '*.* /var/log/syslog' >>etc/rsyslog.conf",
    "nothing is asked of neighbours (LLMNR)": "rm etc/systemd/resolved.conf.d/00-hardening.conf",
    "no core dumps, by limit": "rm etc/security/limits.d/10-core.conf",
    "audit rule identity": "sed -i /identity/d etc/audit/rules.d/30-appliance.rules",
    "AppArmor": "rm etc/systemd/system/sysinit.target.wants/apparmor.service",
    "sums of /usr": "sed -i '/^.usr /d' etc/aide/aide.conf",
    "sums are SHA-512, beside rights and owners": "sed -i s/sha512/md5/ etc/aide/aide.conf",
    "changed files are told of each day": "rm etc/systemd/system/*/aidecheck.timer",
    "and after security updates": "rm etc/systemd/system/*/aidecheck.service",
    "no debug shell": "rm etc/systemd/system/debug-shell.service",
    "/etc/shadow is root's": "chmod 644 etc/shadow",
    "/etc/cron.allow is root's": "rm etc/cron.allow",
    "the kernel's map is root's": "echo x >boot/System.map-x; chmod 644 boot/System.map-x",
    "set-uid programs are the named ones": "chmod u+s usr/bin/mount",
    "no file that everybody may write": "echo x >etc/anybody; chmod 666 etc/anybody",
    "no file without an owner": "echo x >etc/nobody-s; chown 4711:4711 etc/nobody-s",
    "gcc": "cp bin/true usr/bin/gcc",
    "security updates keep our settings, and come": "rm etc/apt/apt.conf.d/40-keep-settings",
    "no var/secret in an image": "mkdir -p opt/agent-proxy/var; echo x >opt/agent-proxy/var/secret",
    "the command": "rm opt/agent-proxy/venv/bin/agent-proxy",
}  # fmt: skip
_JUDGE = """\
set -eu
mount -t proc proc proc; mount --bind /dev dev; mount -t sysfs -o ro sys sys; mount -t tmpfs run run
mkdir run/sshd
cp {kernel} run/kernel.py; cp {verify} run/verify.sh
chroot . ssh-keygen -A >run/keys
chroot . /usr/bin/python3 /run/kernel.py /run/kernel
mount --bind run/kernel proc/sys
chroot . sh /run/verify.sh
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the image's root file system, read-only in effect: tests lay something over it."""
    image = built("*.qcow2")
    home = tmp_path_factory.mktemp("verify")
    disk, folder = home / "image.raw", home / "root"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(image), str(disk)], check=True)
    folder.mkdir()
    with mounted(disk, folder):
        yield folder


def judged(root: Path, home: Path, change: str = ":") -> tuple[set[str], set[str]]:
    """Return which assertions passed and which failed after a change, made in an overlay."""
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "over", str(home)], check=True)
    try:
        top = home / "top"
        for folder in ("up", "work", "top"):
            (home / folder).mkdir()
        layers = f"lowerdir={root},upperdir={home / 'up'},workdir={home / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "-o", layers, "over", str(top)], check=True)
        try:
            subprocess.run(["sh", "-euc", change], cwd=top, check=True)
            script = _JUDGE.format(
                kernel=Path(__file__).with_name("kernel.py"),
                verify=ROOT / "packer" / "scripts" / "90-verify.sh",
            )
            done = subprocess.run(
                ["unshare", "-mpnf", "sh", "-c", script],
                cwd=top, capture_output=True, text=True, check=False,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
            )  # fmt: skip
        finally:
            subprocess.run(["umount", str(top)], check=True)
    finally:
        subprocess.run(["umount", str(home)], check=True)
    said = done.stdout
    assert "PASS" in said, done.stderr
    failed = {found.rstrip() for found in re.findall(r"^FAIL  (.*?): ", said, re.MULTILINE)}
    assert (done.returncode == 1) == bool(failed), said[-2000:] + done.stderr
    return set(re.findall(r"^PASS  (.*)$", said, re.MULTILINE)), failed


def test_the_image_passes_and_a_measure_taken_away_is_noticed(root: Path, tmp_path: Path) -> None:
    passed, failed = judged(root, tmp_path / "whole")
    assert failed == set()
    assert set(WEAKENED) <= passed, set(WEAKENED) - passed
    _, failed = judged(root, tmp_path / "weak", "\n".join(WEAKENED.values()))
    assert set(WEAKENED) <= failed, set(WEAKENED) - failed


if __name__ == "__main__":  # a folder instead of an image: python -m tests.image.test_verify ROOT
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        test_the_image_passes_and_a_measure_taken_away_is_noticed(
            Path(os.path.abspath(sys.argv[1])), Path(made)
        )
