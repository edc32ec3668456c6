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
# effective CONFIG KEY VALUE: after all drop-ins, the last one counts.
effective() { [ "$(systemd-analyze cat-config "$1" | sed -n "s/^$2=//p" | tail -n 1)" = "$3" ]; }

# Kernel: each line of our file is what the kernel has now.
while IFS='= ' read -r key value; do
    case $key in '' | '#'*) continue ;; esac
    assert "sysctl $key" test "$(sysctl -n "$key" 2>/dev/null)" = "$value"
done </etc/sysctl.d/70-hardening.conf
# As modprobe has read it; its names have underscores. An alias would come by the same way.
modules=$(modprobe --showconfig)
is_refused() { printf '%s\n' "$modules" | grep -qx "install $(echo "$1" | tr - _) /bin/false"; }
for module in atm can dccp firewire-core rds sctp tipc cramfs freevxfs hfs hfsplus jffs2 udf \
    usb-storage bluetooth; do
    assert "module $module" is_refused "$module"
done
for word in apparmor=1 security=apparmor audit=1 audit_backlog_limit=8192 lockdown=integrity \
    slab_nomerge init_on_alloc=1 page_alloc.shuffle=1 vsyscall=none transparent_hugepage=never rng_core.default_quality \
    net.ifnames=0 console=ttyS0 root=LABEL=rootfs; do
    assert "kernel line has $word" holds /boot/grub/grub.cfg "linux.*[[:space:]]$word"
done
assert "boot loader's file is root's" mode /boot/grub/grub.cfg '600 root'

# Boot loader: whoever has the screen starts what is there, and nothing else.
assert "boot entries are changed by a superuser only" holds /boot/grub/grub.cfg '^set superusers="nobody"$'
assert "and nobody has the superuser's password" \
    holds /boot/grub/grub.cfg '^password_pbkdf2 nobody grub\.pbkdf2\.sha512\.10000(\.0{128}){2}$'
closed_entries() { grep -E '^[[:space:]]*menuentry .*gnu-linux' /boot/grub/grub.cfg | grep -v -- --unrestricted; }
assert "every kernel is started by anybody" empty closed_entries
refute "an entry is below another" holds /boot/grub/grub.cfg '^submenu '
assert "an update's entries are changed by nobody" test -x /etc/grub.d/01_locked
assert "an update's entries are started by anybody" holds /etc/grub.d/10_linux '^CLASS="--unrestricted '
assert "an update's entries are all on top" \
    holds /etc/default/grub.d/20-locked.cfg '^GRUB_DISABLE_SUBMENU=true$'

# File systems.
for place in /tmp /var/tmp /dev/shm; do
    assert "$place without devices, set-uid and programs" \
        holds /etc/fstab "^tmpfs $place tmpfs .*nodev,nosuid,noexec"
done
assert "/dev without set-uid and programs" holds /etc/fstab '^devtmpfs /dev devtmpfs .*nosuid,noexec'
for place in /boot /home /srv /var/log /var/log/audit; do
    assert "$place without devices, set-uid and programs" \
        holds /etc/fstab "^$place $place none bind,nodev,nosuid,noexec"
done
for place in /opt /var; do
    assert "$place without devices and set-uid" \
        holds /etc/fstab "^$place $place none bind,nodev,nosuid"
done
assert "the EFI partition is root's" holds /etc/fstab '^LABEL=ESP .*umask=0077,nodev,nosuid,noexec'
assert "processes of others are hidden" holds /etc/fstab '^proc .*hidepid=invisible'
assert "but not from who may read them" getent group proc-readers

# Log-in.
assert "root has no password" holds /etc/shadow '^root:!?\*?:|^root:!'
refute "an account has a password" holds /etc/shadow '^[^:]+:\$'
assert "lock-out counts" holds /etc/pam.d/common-auth 'pam_faillock.so authfail'
assert "lock-out asks first" holds /etc/pam.d/common-auth 'pam_faillock.so preauth'
assert "lock-out after 3" holds /etc/security/faillock.conf '^deny = 3$'
assert "lock-out within 15 min" holds /etc/security/faillock.conf '^fail_interval = 900$'
assert "lock-out for 15 min" holds /etc/security/faillock.conf '^unlock_time = 900$'
assert "lock-out of root too" holds /etc/security/faillock.conf '^even_deny_root$'
assert "a success is the end of it" holds /etc/pam.d/common-account 'pam_faillock.so'
assert "root may log in nowhere" sh -c '[ -e /etc/securetty ] && [ ! -s /etc/securetty ]'
assert "old passwords are refused" holds /etc/pam.d/common-password 'pam_pwhistory.so remember=24'
refute "empty passwords" holds /etc/pam.d/common-auth nullok
assert "passwords cost to be tried" holds /etc/pam.d/common-password 'yescrypt rounds=11'
for line in 'minlen = 15' 'minclass = 4' 'difok = 8' 'dcredit = -1' 'ucredit = -1' 'lcredit = -1' \
    'ocredit = -1' 'maxrepeat = 3' 'maxsequence = 3' 'dictcheck = 1' 'enforcing = 1' \
    'enforce_for_root'; do
    assert "password quality $line" holds /etc/security/pwquality.conf "^$line\$"
done
assert "nobody may su" holds /etc/pam.d/su '^auth required pam_wheel.so group=sugroup use_uid'
for line in 'UMASK 027' 'PASS_MAX_DAYS 365' 'PASS_MIN_DAYS 1' 'ENCRYPT_METHOD YESCRYPT' \
    'SHA_CRYPT_MIN_ROUNDS 65536' 'FAILLOG_ENAB yes'; do
    assert "login.defs $line" holds /etc/login.defs "^$line\$"
done
assert "unused accounts end" holds /etc/default/useradd '^INACTIVE=30$'
for file in /etc/bash.bashrc /etc/profile /etc/profile.d/hardening.sh /root/.profile; do
    assert "umask in $file" holds "$file" '^umask 027$'
done
assert "root's path" holds /root/.profile '^PATH="/usr/sbin:/usr/bin:/sbin:/bin"$'
assert "shells end by themselves" holds /etc/profile.d/hardening.sh TMOUT=600
assert "shells dump no core" holds /etc/profile.d/hardening.sh '^ulimit -c 0$'
for file in /etc/issue /etc/issue.net; do
    assert "banner in $file" holds "$file" 'Authorized use only'
done

# sudo.
for line in use_pty requiretty ignore_dot umask=0077 'logfile="/var/log/sudo.log"' \
    timestamp_timeout=5 noexec; do
    assert "sudo $line" holds /etc/sudoers.d/10-hardening "^Defaults $line\$"
done
refute "sudo gives anybody everything" holds /etc/sudoers '^(root|%sudo)[[:space:]]'
assert "sudoers.d is root's" mode /etc/sudoers.d '750 root'
assert "sudo's rules are whole" visudo --check --quiet

# SSH.
assert "SSH is off" enabled ssh disabled
for line in 'permitrootlogin no' 'passwordauthentication no' 'kbdinteractiveauthentication no' \
    'x11forwarding no' 'allowtcpforwarding no' 'allowagentforwarding no' 'maxauthtries 4' \
    'logingracetime 60' 'permitemptypasswords no' 'permituserenvironment no' 'hostbasedauthentication no' \
    'ignorerhosts yes' 'allowstreamlocalforwarding no' 'permittunnel no' 'gssapiauthentication no' \
    'banner /etc/issue.net' 'maxsessions 4' 'maxstartups 10:30:60' 'clientaliveinterval 300' \
    'clientalivecountmax 3' 'tcpkeepalive no' 'compression no' 'allowusers operator' \
    'authenticationmethods publickey' 'loglevel INFO' 'usepam yes'; do
    assert "sshd $line" sshd_says "$line"
done
assert "sshd_config is root's" mode /etc/ssh/sshd_config '600 root'

# Logs and audit.
refute "sshd has an old cipher, MAC or key exchange" sh -c 'sshd -T 2>/dev/null |
    grep -E "^(ciphers|macs|kexalgorithms) " | grep -E "cbc|3des|md5|umac|sha1([^0-9]|$)|ecdh-sha2"'
assert "journal is kept" effective systemd/journald.conf Storage persistent
assert "journal is bounded" sh -c 'systemd-analyze cat-config systemd/journald.conf | grep ^SystemMaxUse='
assert "a log host gets the journal" effective systemd/journald.conf ForwardToSyslog yes
assert "rsyslog's rules are whole" rsyslogd -N1
refute "logs are kept a second time, without bound" holds /etc/rsyslog.conf '[[:space:]]-?/var/log'
assert "nothing is asked of neighbours (LLMNR)" effective systemd/resolved.conf LLMNR no
assert "nothing is asked of neighbours (mDNS)" effective systemd/resolved.conf MulticastDNS no
assert "the clock has servers" sh -c 'systemd-analyze cat-config systemd/timesyncd.conf | grep ^FallbackNTP=.'
assert "no core dumps" holds /etc/systemd/coredump.conf.d/10-hardening.conf '^Storage=none'
assert "no core dumps, by limit" holds /etc/security/limits.d/10-core.conf '^\* hard core 0'
assert "audit" enabled auditd enabled
for word in identity scope system settings actions time-change system-locale modules mounts privileged; do
    assert "audit rule $word" holds /etc/audit/rules.d/30-appliance.rules "-k $word\$"
done
assert "network settings of late interfaces" enabled sysctl-reapply-network enabled
assert "no debug shell" enabled debug-shell.service masked
assert "no restart by Ctrl-Alt-Del" enabled ctrl-alt-del.target masked
for unit in systemd-networkd systemd-resolved systemd-timesyncd; do
    assert "$unit" enabled "$unit" enabled
done

# Sums of files: the first ones are made when all is done (99-clean.sh).
for place in /boot /etc /usr /opt/agent-proxy; do
    assert "sums of $place" holds /etc/aide/aide.conf "^$place Full\$"
done
assert "sums are SHA-512, beside rights and owners" \
    holds /etc/aide/aide.conf '^Full = ftype\+p\+u\+g\+s\+l\+acl\+xattrs\+caps\+sha512$'
assert "sums can be made" aide --config-check --config=/etc/aide/aide.conf
assert "changed files are told of each day" enabled aidecheck.timer enabled
assert "and after security updates" enabled aidecheck.service enabled

# Rights of files.
for file in /etc/cron.allow /etc/at.allow; do
    assert "$file is root's" mode "$file" '600 root'
done
for folder in /etc/cron.d /etc/cron.daily; do
    assert "$folder is root's" mode "$folder" '700 root'
done
for file in /etc/shadow /etc/gshadow; do
    assert "$file is root's" mode "$file" '640 root'
done
kernel_maps_of_others() { find /boot -name 'System.map-*' -perm /077; }
assert "the kernel's map is root's" empty kernel_maps_of_others
assert "audit rules are root's" mode /etc/audit/rules.d/30-appliance.rules '640 root'
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

apt_keeps_settings() { apt-config dump | grep -qiF 'Dpkg::Options:: "--force-confold";'; }
assert "security updates keep our settings, and come" apt_keeps_settings

# The product.
assert "the command" sh -c '/opt/agent-proxy/venv/bin/agent-proxy --version'
assert "the appliance's command" sh -c '/opt/agent-proxy/venv/bin/agent-proxy-appliance --version'
for unit in agent-proxy agent-proxy-first-boot agent-proxy-firewall agent-proxy-recover; do
    assert "$unit starts with the machine" enabled "$unit.service" enabled
done
assert "the console on the screen" enabled agent-proxy-console@tty1.service enabled
assert "a machine without an address is no failure over the console" \
    holds /etc/systemd/system/systemd-networkd-wait-online.service.d/agent-proxy.conf '^ExecStart=-/'
refute "a container's console" enabled agent-proxy-console@console.service enabled
for file in var/secret var/tls/proxy.key conf/console.json; do
    refute "no $file in an image" test -e "/opt/agent-proxy/$file"
done

[ "$failed" = 0 ] || { echo "$failed assertions failed"; exit 1; }
