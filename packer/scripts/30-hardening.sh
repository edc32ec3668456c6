#!/bin/sh
# Guarantees: every measure of docs/image.md that is not a file of packer/files. Safe to run again.
set -eu

say() { echo "==> $*"; }

# set_value FILE KEY VALUE: one line "KEY VALUE", for files that have no folder of drop-ins.
set_value() {
    sed -i -E "/^[#[:space:]]*$2([[:space:]=]|\$)/d" "$1"
    printf '%s\n' "$3" >>"$1"
}

say "Passwords and log-in"
set_value /etc/login.defs UMASK 'UMASK 027'
set_value /etc/login.defs PASS_MAX_DAYS 'PASS_MAX_DAYS 365'
set_value /etc/login.defs PASS_MIN_DAYS 'PASS_MIN_DAYS 1'
set_value /etc/login.defs ENCRYPT_METHOD 'ENCRYPT_METHOD YESCRYPT'
set_value /etc/login.defs FAILLOG_ENAB 'FAILLOG_ENAB yes'
set_value /etc/login.defs SHA_CRYPT_MIN_ROUNDS 'SHA_CRYPT_MIN_ROUNDS 65536'
set_value /etc/default/useradd INACTIVE 'INACTIVE=30'
set_value /etc/security/faillock.conf deny 'deny = 3'
set_value /etc/security/faillock.conf fail_interval 'fail_interval = 900'
set_value /etc/security/faillock.conf unlock_time 'unlock_time = 900'
set_value /etc/security/faillock.conf even_deny_root 'even_deny_root'
sed -i -e 's/ nullok//' -e 's/ yescrypt$/ yescrypt rounds=11/' /usr/share/pam-configs/unix
pam-auth-update --package --force --enable faillock faillock_notify pwhistory pwquality unix
groupadd --force --system sugroup
sed -i -E 's/^#?[[:space:]]*auth[[:space:]]+required[[:space:]]+pam_wheel.so.*/auth required pam_wheel.so group=sugroup use_uid/' /etc/pam.d/su
grep -q '^auth required pam_wheel.so group=sugroup use_uid' /etc/pam.d/su ||
    sed -i '1i auth required pam_wheel.so group=sugroup use_uid' /etc/pam.d/su
passwd --quiet --lock root
: >/etc/securetty
chmod 0644 /etc/securetty
# sudo gives one command to one user (sudoers.d/agent-proxy), and nothing to anybody else.
sed -i -E '/^(root|%sudo)[[:space:]]/d' /etc/sudoers
chmod 0750 /etc/sudoers.d
visudo --check --quiet

say "No core dumps"
rm -f /etc/security/limits.d/10-coredump-debian.conf

say "Shells"
for file in /etc/bash.bashrc /etc/profile; do
    set_value "$file" umask 'umask 027'
done
set_value /root/.profile PATH 'PATH="/usr/sbin:/usr/bin:/sbin:/bin"'
set_value /root/.profile umask 'umask 027'

say "Rights"
groupadd --force --system proc-readers
chmod 0600 /etc/ssh/sshd_config /boot/System.map-*
chmod 0440 /etc/sudoers.d/*
chmod 0700 /etc/cron.d /etc/cron.daily
: >/etc/cron.allow
: >/etc/at.allow
chmod 0600 /etc/cron.allow /etc/at.allow
for file in /etc/shadow /etc/gshadow; do
    chown root:shadow "$file"
    chmod 0640 "$file"
done
[ ! -e /etc/shadow- ] || chown root:shadow /etc/shadow-
[ ! -e /etc/gshadow- ] || chown root:root /etc/gshadow-
for file in /etc/shadow- /etc/gshadow-; do
    [ ! -e "$file" ] || chmod 0000 "$file"
done
chgrp -R root /var/log
[ ! -d /var/log/journal ] || chgrp -R systemd-journal /var/log/journal
rm -f /var/log/syslog /var/log/*.log
# No program that gives more rights than sudo gives to the one user it is for.
for file in /usr/bin/chfn /usr/bin/chsh /usr/bin/newgrp /usr/bin/gpasswd /usr/bin/expiry \
    /usr/bin/chage /usr/bin/umount /usr/bin/mount /usr/bin/su /usr/bin/passwd \
    /usr/lib/openssh/ssh-keysign /usr/bin/ssh-agent; do
    [ ! -e "$file" ] || chmod ug-s "$file"
done

say "Services that nobody asked for"
systemctl --quiet mask debug-shell.service ctrl-alt-del.target
systemctl --quiet enable auditd apparmor sysctl-reapply-network aidecheck.service aidecheck.timer
