#!/bin/sh
# Guarantees: the disk starts by BIOS and by UEFI, on any bus, without anybody's hand.
set -eu

say() { echo "==> $*"; }

say "GRUB for BIOS and UEFI"
mkdir -p /boot/efi
mountpoint -q /boot/efi || mount /dev/disk/by-label/ESP /boot/efi
disk=/dev/$(lsblk -no pkname "$(findmnt -no SOURCE /)")
# Entries are started by anybody and changed by nobody (grub.d/01_locked); also those that an update
# will make, which keeps a file that was changed.
chmod 0755 /etc/grub.d/01_locked
grep -q '^CLASS="--unrestricted' /etc/grub.d/10_linux ||
    sed -i 's/^CLASS="/&--unrestricted /' /etc/grub.d/10_linux
grub-install --target=i386-pc "$disk"
grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram
update-grub
chmod 0600 /boot/grub/grub.cfg
grep -q 'root=LABEL=rootfs' /boot/grub/grub.cfg ||
    sed -i -E 's#root=(UUID=|/dev/)[^ ]+#root=LABEL=rootfs#' /boot/grub/grub.cfg
umount /boot/efi

say "Nothing at a start that nobody needs"
systemctl --quiet mask grub-common.service e2scrub_reap.service e2scrub_all.timer
# File systems to look into the kernel with, or to hang others on: a program or two for each.
systemctl --quiet mask sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-fs-fuse-connections.mount dev-hugepages.mount modprobe@configfs.service \
    modprobe@fuse.service modprobe@drm.service systemd-pstore.service modprobe@efi_pstore.service

say "AppArmor: profiles of what is here, compiled, so that no start has to"
# Debian's are for some hundred programs, browsers most of them. dpkg does not bring back what an
# administrator has removed.
for profile in /etc/apparmor.d/*; do
    case ${profile##*/} in
    agent-proxy | systemd-coredump | unix-chkpwd | unprivileged_userns) ;;
    *) [ ! -f "$profile" ] || rm "$profile" ;;
    esac
done
apparmor_parser --skip-kernel-load --write-cache /etc/apparmor.d
