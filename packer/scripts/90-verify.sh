#!/bin/sh
# Guarantees: every measure is in force, one assertion each. All are tried; one that fails ends the
# build. What depends on a machine's own start (ports, running services) is in tests/image.
set -eu

failed=0

# assert NAME COMMAND...: the command succeeds.
assert() {
    name=$1
    shift
    if "$@" >/dev/null 2>&1; then
        echo "PASS  $name"
    else
        echo "FAIL  $name: $*"
        failed=$((failed + 1))
    fi
}

# refute NAME COMMAND...: the command fails.
refute() {
    name=$1
    shift
    if "$@" >/dev/null 2>&1; then
        echo "FAIL  $name: $*"
        failed=$((failed + 1))
    else
        echo "PASS  $name"
    fi
}

holds() { grep -Eq -- "$2" "$1"; }
mode() { [ "$(stat -c '%a %U' "$1")" = "$2" ]; }
enabled() { [ "$(systemctl is-enabled "$1" 2>/dev/null)" = "$2" ]; }
empty() { [ -z "$("$@")" ]; }
sshd_says() { sshd -T 2>/dev/null | grep -Eiqx -- "$1"; }
same() { [ "$("$1")" = "$2" ]; }

# Kernel: each line of our file is what the kernel has now.
while IFS='= ' read -r key value; do
    case $key in '' | '#'*) continue ;; esac
    assert "sysctl $key" test "$(sysctl -n "$key" 2>/dev/null)" = "$value"
done </etc/sysctl.d/50-hardening.conf
while read -r word module _; do
    [ "$word" != install ] || refute "module $module" modprobe "$module"
done </etc/modprobe.d/hardening.conf
for word in apparmor=1 security=apparmor audit=1 lockdown=integrity init_on_alloc=1 net.ifnames=0 \
    console=ttyS0 root=LABEL=rootfs; do
    assert "kernel line has $word" holds /boot/grub/grub.cfg "linux.*[[:space:]]$word"
done
assert "boot loader's file is root's" mode /boot/grub/grub.cfg '600 root'

# File systems.
for place in /tmp /var/tmp /dev/shm; do
    assert "$place without devices, set-uid and programs" \
        holds /etc/fstab "^tmpfs $place tmpfs .*nodev,nosuid,noexec"
done
assert "processes of others are hidden" holds /etc/fstab '^proc .*hidepid=invisible'

# Log-in.
assert "root has no password" holds /etc/shadow '^root:!?\*?:|^root:!'
refute "an account has a password" holds /etc/shadow '^[^:]+:\$'
assert "lock-out counts" holds /etc/pam.d/common-auth 'pam_faillock.so authfail'
assert "lock-out asks first" holds /etc/pam.d/common-auth 'pam_faillock.so preauth'
assert "lock-out after 4" holds /etc/security/faillock.conf '^deny = 4'
assert "old passwords are refused" holds /etc/pam.d/common-password 'pam_pwhistory.so remember=24'
refute "empty passwords" holds /etc/pam.d/common-auth nullok
assert "password length" holds /etc/security/pwquality.conf '^minlen = 14'
assert "nobody may su" holds /etc/pam.d/su '^auth required pam_wheel.so group=sugroup use_uid'
assert "umask" holds /etc/login.defs '^UMASK 027'
assert "shells end by themselves" holds /etc/profile.d/hardening.sh TMOUT=900
assert "banner" holds /etc/issue.net 'Authorized use only'

# SSH.
assert "SSH is off" enabled ssh disabled
for line in 'permitrootlogin no' 'passwordauthentication no' 'kbdinteractiveauthentication no' \
    'x11forwarding no' 'allowtcpforwarding no' 'allowagentforwarding no' 'maxauthtries 4' \
    'logingracetime 60' 'permitemptypasswords no' 'permituserenvironment no'; do
    assert "sshd $line" sshd_says "$line"
done
assert "sshd_config is root's" mode /etc/ssh/sshd_config '600 root'

# Logs and audit.
assert "journal is kept" holds /etc/systemd/journald.conf '^Storage=persistent'
assert "no core dumps" holds /etc/systemd/coredump.conf.d/10-hardening.conf '^Storage=none'
assert "no core dumps, by limit" holds /etc/security/limits.d/10-core.conf '^\* hard core 0'
assert "audit" enabled auditd enabled
assert "AppArmor" enabled apparmor enabled
assert "audit rules can be loaded" augenrules --check

# Programs that give rights.
setuid_programs() { find / -xdev -type f -perm /6000 | sort | tr '\n' ' '; }
assert "set-uid programs are the named ones" same setuid_programs \
    '/usr/bin/sudo /usr/lib/dbus-1.0/dbus-daemon-launch-helper /usr/sbin/unix_chkpwd '
world_writable() { find / -xdev -type f -perm -0002; }
assert "no file that everybody may write" empty world_writable
unowned() { find / -xdev \( -nouser -o -nogroup \); }
assert "no file without an owner" empty unowned
capable() { getcap -r / 2>/dev/null; }
assert "no program with capabilities" empty capable
for program in gcc cc make ld as tcpdump nc telnet curl wget; do
    refute "$program" sh -c "command -v $program"
done

# The product.
assert "the command" sh -c '/opt/agent-proxy/venv/bin/agent-proxy --version'
assert "the appliance's command" sh -c '/opt/agent-proxy/venv/bin/agent-proxy-appliance --version'
for unit in agent-proxy agent-proxy-first-boot agent-proxy-firewall agent-proxy-recover; do
    assert "$unit starts with the machine" enabled "$unit.service" enabled
done
assert "the console on the screen" enabled agent-proxy-console@tty1.service enabled
refute "a container's console" enabled agent-proxy-console@console.service enabled
for file in var/secret var/tls/proxy.key conf/console.json; do
    refute "no $file in an image" test -e "/opt/agent-proxy/$file"
done

[ "$failed" = 0 ] || { echo "$failed assertions failed"; exit 1; }
