#!/bin/sh
# Runs inside the image, from a unit that tests/image/scans.py adds to a copy of it: OpenSCAP, Lynis
# and systemd's own judgement, from the volume at /run/tools; what they say goes to the second
# serial line.
exec >/dev/ttyS1 2>&1
export PATH=/usr/sbin:/usr/bin
tools=/run/tools
systemctl is-system-running --wait
mkdir -p "$tools" /run/judged
mount -o ro LABEL=TOOLS "$tools"
lib=$tools/usr/lib/x86_64-linux-gnu

# As root's log-in shell has it, not as a unit does.
# shellcheck disable=SC1091  # of the image
. /root/.profile 2>/dev/null

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
    cp "$tools/usr/sbin/lynis" . && cp "$tools/etc/lynis/default.prf" . &&
    sh ./lynis audit system --quick --no-colors --quiet --profile ./default.prf \
        --logfile /run/judged/lynis.log --report-file /run/judged/lynis.dat
grep -E '^(hardening_index|warning|suggestion)' /run/judged/lynis.dat
echo "==== ports"
ss -Hltunp
echo "==== units"
for unit in /etc/systemd/system/agent-proxy*.service; do
    systemd-analyze security --no-pager "$(basename "$unit")" 2>&1 | tail -n 1
done
echo "==== failed"
systemctl --failed --no-legend --plain
echo "==== times"
systemd-analyze time
free -m
echo "==== end"
