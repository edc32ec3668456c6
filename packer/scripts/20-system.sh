#!/bin/sh
# Guarantees: the files of packer/files are in place, root's, with the rights that they need.
set -eu

say() { echo "==> $*"; }

say "Placing files"
cd /tmp/files
find . -type d -exec install -d -o root -g root -m 755 '/{}' \;
find . -type f -exec install -o root -g root -m 644 '{}' '/{}' \;
chmod 0440 /etc/sudoers.d/10-hardening
chmod 0600 /etc/ssh/sshd_config
# The user that Packer comes in by has no terminal, and its shells start programs; its file goes
# with it.
packer=/etc/sudoers.d/packer
if [ -e "$packer" ] && ! grep -q '^Defaults' "$packer"; then
    echo 'Defaults:packer !requiretty, !noexec, umask=0022' >>"$packer"
fi
visudo --check --quiet
chmod 0640 /etc/audit/rules.d/*.rules

say "Kernel settings"
/usr/lib/systemd/systemd-sysctl

say "Services"
systemctl --quiet enable systemd-networkd systemd-resolved systemd-timesyncd nftables
systemctl --quiet enable qemu-guest-agent open-vm-tools hv-kvp-daemon 2>/dev/null ||
    echo "guest agents are started by their devices"
# Off until the console turns it on; Packer's own way in goes with its user.
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
