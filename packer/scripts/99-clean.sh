#!/bin/sh
# Guarantees: nothing of the build stays: no identity, key, log, history, cache or user.
set -eu

say() { echo "==> $*"; }

say "Removing what only the build needed"
rm -rf /tmp/files /tmp/product
apt-get -qq clean
find /var/cache -mindepth 1 -maxdepth 1 ! -name apparmor -exec rm -rf {} +
rm -rf /var/lib/apt/lists/* /var/backups/* /var/log/apt /root/.cache

say "Removing identities; each machine makes its own at its first start"
rm -f /etc/.resolv.conf.systemd-resolved.bak /etc/ssh/ssh_host_* /var/lib/systemd/random-seed /var/lib/dbus/machine-id \
    /var/lib/systemd/credential.secret
: >/etc/machine-id
echo agent-proxy >/etc/hostname

say "Emptying logs and histories"
SYSTEMD_OFFLINE=0 systemctl stop auditd systemd-journald.socket systemd-journald-dev-log.socket systemd-journald \
    2>/dev/null || echo "a log service was not running"
find /var/log -type f -exec truncate -s 0 {} +
rm -rf /var/log/journal/* /var/log/audit/* /var/lib/systemd/timers/* /var/lib/private/*
rm -f /root/.bash_history /root/.wget-hsts

say "Telling systemd that /usr is not newer than what was made of it"
# It writes down the time of /usr: the tree's, where builds shall be alike, and not when Debian was unpacked.
touch -r /opt/agent-proxy/current/digest /usr
/usr/lib/systemd/systemd-update-done

say "Freeing what is empty"
cat >/run/99-goodbye.sh <<'GOODBYE'
set -eu
rm -rf /home/packer /etc/sudoers.d/packer /etc/systemd/network/00-build.network \
    /etc/systemd/system/build.target* /etc/systemd/system/build-ssh.service \
    /etc/systemd/system/agent-proxy-firewall.service.d /etc/systemd/system/apparmor.service.d
sed -i '/^packer:/d' /etc/passwd /etc/shadow /etc/group /etc/gshadow /etc/subuid /etc/subgid
rm -f /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid-
# sudo has written down that this was called.
rm -f /var/log/sudo.log
# All is as it will be: the first sums of it, which a machine compares with (aidecheck.service).
install -d -m 700 /var/lib/aide
aide --init --config=/etc/aide/aide.conf >/dev/console 2>&1
mv /var/lib/aide/aide.new /var/lib/aide/aide.db
fstrim /
sync
# Read-only first: the file system is clean then, and the image needs no recovery at each first start.
echo u >/proc/sysrq-trigger
sleep 2
poweroff -f
GOODBYE
