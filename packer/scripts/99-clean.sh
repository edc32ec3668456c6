#!/bin/sh
# Guarantees: nothing of the build stays: no identity, key, log, history, cache or user.
set -eu

say() { echo "==> $*"; }

say "Removing what only the build needed"
rm -rf /tmp/files /tmp/product /tmp/product.tar
apt-get -qq clean
rm -rf /var/lib/apt/lists/* /var/cache/* /var/backups/* /var/log/apt /root/.cache

say "Removing identities; each machine makes its own at its first start"
rm -f /etc/ssh/ssh_host_* /var/lib/systemd/random-seed /var/lib/dbus/machine-id \
    /etc/systemd/network/00-build.network /var/lib/systemd/credential.secret
: >/etc/machine-id

say "Emptying logs and histories"
systemctl stop auditd systemd-journald.socket systemd-journald-dev-log.socket systemd-journald \
    2>/dev/null || echo "a log service was not running"
find /var/log -type f -exec truncate -s 0 {} +
rm -rf /var/log/journal/* /var/log/audit/* /var/lib/systemd/timers/* /var/lib/private/*
rm -f /root/.bash_history /root/.wget-hsts

say "Freeing what is empty"
cat >/run/99-goodbye.sh <<'GOODBYE'
set -eu
rm -rf /home/packer /etc/sudoers.d/packer
sed -i '/^packer:/d' /etc/passwd /etc/shadow /etc/group /etc/gshadow /etc/subuid /etc/subgid
rm -f /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid-
systemctl --quiet disable ssh
fstrim /
sync
# Read-only first: the file system is clean then, and the image needs no recovery at each first start.
echo u >/proc/sysrq-trigger
sleep 2
poweroff -f
GOODBYE
