#!/bin/sh
# Runs inside the image, from a unit that tests/image/scans.py adds to a copy of it: OpenSCAP, Lynis
# and systemd's own judgement. In a machine the tools are on the volume TOOLS and what they say goes
# to the second serial line; in a container both are folders below /mnt.
if [ -d /mnt/tools ]; then
    tools=/mnt/tools
    exec >/mnt/judged/said 2>&1
    # The kernel is the host's: it is shown with the values that the image's files give it.
    /usr/bin/python3 /mnt/kernel.py /run/kernel && mount --bind /run/kernel /proc/sys
else
    tools=/run/tools
    exec >/dev/ttyS1 2>&1
    mkdir -p "$tools"
    mount -o ro LABEL=TOOLS "$tools"
fi
export PATH=/usr/sbin:/usr/bin
systemctl is-system-running --wait
# A machine has been told who it is, and serves; a container has not.
waited=0
while [ ! -d /mnt/tools ] && [ -z "$(ss -Hltn 'sport = :2002')" ] && [ "$waited" -lt 600 ]; do
    sleep 1
    waited=$((waited + 1))
done
mkdir -p /run/judged
lib=$tools/usr/lib/x86_64-linux-gnu

# As root's log-in shell has it, not as a unit does.
# shellcheck disable=SC1091  # of the image
. /root/.profile 2>/dev/null

# What the tools below leave behind must not be counted, so these come first.
echo "==== left"
for word in gcc cc make ld as; do command -v "$word"; done
[ ! -d /var/cache/apt ] || find /var/cache/apt -type f -name '*.deb'
find / -xdev \( -name '*_history' -o -name '.wget-hsts' \)
echo "==== setuid"
find / -xdev -type f -perm /6000
echo "==== ports"
ss -Hltunp
echo "==== units"
for unit in /etc/systemd/system/*.service; do
    [ -L "$unit" ] || [ "$unit" = /etc/systemd/system/judge.service ] ||
        systemd-analyze security --no-pager "$(basename "$unit")" 2>&1 | tail -n 1
done
echo "==== apparmor"
cat /sys/kernel/security/apparmor/profiles
echo "==== confined"
for process in /proc/[0-9]*; do
    # It may have ended since it was listed.
    case $({ tr '\0' ' ' <"$process/cmdline"; } 2>/dev/null) in
    */agent-proxy/*supervisord* | */agent-proxy/*agent-proxy\ worker*)
        echo "$(cat "$process/attr/current") $(cat "$process/comm")"
        ;;
    esac
done
echo "==== lockdown"
cat /sys/kernel/security/lockdown
echo "==== mounts"
findmnt --real --noheadings --raw -o TARGET,OPTIONS
echo "==== failed"
systemctl --failed --no-legend --plain
echo "==== times"
systemd-analyze time
free -m

echo "==== lynis"
# It looks for its own files beside itself or in /usr/share: given a folder of its own.
cp -r "$tools/usr/share/lynis" /run/judged/ && cd /run/judged/lynis &&
    cp "$tools/usr/sbin/lynis" . && cp -r "$tools"/etc/lynis/* . &&
    sh ./lynis audit system --quick --no-colors --quiet --profile ./default.prf \
        --plugindir ./plugins \
        --logfile /run/judged/lynis.log --report-file /run/judged/lynis.dat
grep -E '^(hardening_index|warning|suggestion)' /run/judged/lynis.dat
echo "==== points"
# Where Lynis gave less than there is: test, points, of how many, what was found.
awk '{ sub(/^[^ ]+ [^ ]+ /, "") }
    /^Performing test ID/ { test = $4 }
    match($0, /partial number of hardening points \([0-9]+ of [0-9]+\)/) {
        split(substr($0, RSTART, RLENGTH), word, /[( )]+/)
        print test, word[6], "of", word[8] ": " before
    }
    !/^Hardening: / { before = $0 }' /run/judged/lynis.log
grep -o 'Currently having.*' /run/judged/lynis.log | tail -n 1
# scan PROFILE: what OpenSCAP says of one.
scan() {
    LD_LIBRARY_PATH=$lib OSCAP_SCHEMA_PATH=$tools/usr/share/openscap/schemas \
        OSCAP_XSLT_PATH=$tools/usr/share/openscap/xsl OSCAP_CPE_PATH=$tools/usr/share/openscap/cpe \
        "$tools/usr/bin/oscap" xccdf eval \
        --profile "xccdf_org.ssgproject.content_profile_$1" \
        "$tools/usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml" 2>&1
}
# The longest by far under emulation: both profiles at once, a processor each.
scan anssi_bp28_intermediary >/run/judged/anssi &
echo "==== openscap cis_level1_server"
scan cis_level1_server
wait
echo "==== openscap anssi_bp28_intermediary"
cat /run/judged/anssi
echo "==== end"
[ ! -d /mnt/tools ] || systemctl poweroff --no-block
