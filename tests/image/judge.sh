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
mkdir -p /run/judged
lib=$tools/usr/lib/x86_64-linux-gnu

# As root's log-in shell has it, not as a unit does.
# shellcheck disable=SC1091  # of the image
. /root/.profile 2>/dev/null

# What the tools below leave behind must not be counted, so these come first.
echo "==== left"
for word in gcc cc make ld as; do command -v "$word"; done
find /var/cache/apt -type f -name '*.deb'
find / -xdev \( -name '*_history' -o -name '.wget-hsts' \)
echo "==== setuid"
find / -xdev -type f -perm /6000
echo "==== ports"
ss -Hltunp
echo "==== units"
for unit in /etc/systemd/system/agent-proxy*.service; do
    systemd-analyze security --no-pager "$(basename "$unit")" 2>&1 | tail -n 1
done
echo "==== apparmor"
cat /sys/kernel/security/apparmor/profiles
echo "==== lockdown"
cat /sys/kernel/security/lockdown
echo "==== failed"
systemctl --failed --no-legend --plain
echo "==== times"
systemd-analyze time
free -m
for profile in cis_level1_server anssi_bp28_intermediary; do
    echo "==== openscap $profile"
    LD_LIBRARY_PATH=$lib OSCAP_SCHEMA_PATH=$tools/usr/share/openscap/schemas \
        OSCAP_XSLT_PATH=$tools/usr/share/openscap/xsl OSCAP_CPE_PATH=$tools/usr/share/openscap/cpe \
        "$tools/usr/bin/oscap" xccdf eval \
        --profile "xccdf_org.ssgproject.content_profile_$profile" \
        "$tools/usr/share/xml/scap/ssg/content/ssg-debian13-ds.xml"
done
echo "==== lynis"
# It looks for its own files beside itself or in /usr/share: given a folder of its own.
cp -r "$tools/usr/share/lynis" /run/judged/ && cd /run/judged/lynis &&
    cp "$tools/usr/sbin/lynis" . && cp -r "$tools"/etc/lynis/* . &&
    sh ./lynis audit system --quick --no-colors --quiet --profile ./default.prf \
        --plugindir ./plugins \
        --logfile /run/judged/lynis.log --report-file /run/judged/lynis.dat
grep -E '^(hardening_index|warning|suggestion)' /run/judged/lynis.dat
echo "==== end"
[ ! -d /mnt/tools ] || systemctl poweroff --no-block
