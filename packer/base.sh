#!/bin/sh
# base.sh DIRECTORY: unpacks the Debian that the image is made of, without an installer.
#
# Guarantees DIRECTORY/root.tar, with its kernel and an initial file system for every target, and
# packages.txt with every package and its version. Needs root, for files that belong to others.
set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
work=$1
suite=${SUITE:-trixie}

# Written before the kernel comes, so that its initial file system is made once, and right.
# shellcheck disable=SC2016  # $1 is mmdebstrap's
before='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/hooks"
echo "LABEL=rootfs / ext4 errors=remount-ro 0 1" >"$1/etc/fstab"'
hook=/usr/share/initramfs-tools/hooks/agent-proxy
# shellcheck disable=SC2016
after='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"
chroot "$1" dpkg-query -W -f "\${Package} \${Version} \${Architecture}\n" >"$PACKAGES"'

packages=$(cat "$here/packages.txt" "$here/../appliance/packages.txt" | grep -v '^#' | tr '\n' ,)
# Documentation stays out, licences stay in: their texts are owed to whoever gets the image.
# Out as well, for good (dpkg remembers): drivers of what no virtual machine has.
set -- --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright'
for drivers in sound drivers/media drivers/infiniband drivers/net/wireless drivers/gpu/drm/amd \
    drivers/gpu/drm/i915 drivers/gpu/drm/nouveau drivers/gpu/drm/radeon drivers/gpu/drm/xe; do
    set -- "$@" --dpkgopt="path-exclude=/usr/lib/modules/*/kernel/$drivers/*"
done
# --mode=root: the owners of files are the real ones.
PACKAGES=$work/packages.txt mmdebstrap --quiet --variant=minbase --mode=root \
    --include="$packages" --aptopt='Acquire::Retries "3"' "$@" \
    --essential-hook="$before" \
    --essential-hook="upload $here/initramfs/hook $hook" \
    --essential-hook="chmod 755 \"\$1$hook\"" \
    --essential-hook="upload $here/initramfs/conf /etc/initramfs-tools/conf.d/agent-proxy" \
    --customize-hook="$after" \
    "$suite" "$work/root.tar"
