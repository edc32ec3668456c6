#!/bin/sh
# Guarantees: the disk starts by BIOS and by UEFI, on any bus, without anybody's hand.
set -eu

say() { echo "==> $*"; }

say "Initial file system with the drivers of every target"
cat >/etc/initramfs-tools/modules <<'MODULES'
virtio_pci
virtio_blk
virtio_scsi
virtio_net
vmw_pvscsi
vmxnet3
mptspi
hv_vmbus
hv_storvsc
hv_netvsc
ahci
nvme
xen_blkfront
xen_netfront
MODULES
update-initramfs -u

say "GRUB for BIOS and UEFI"
mkdir -p /boot/efi
mountpoint -q /boot/efi || mount /dev/disk/by-label/ESP /boot/efi
disk=/dev/$(lsblk -no pkname "$(findmnt -no SOURCE /)")
grub-install --target=i386-pc "$disk"
grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram
update-grub
chmod 0600 /boot/grub/grub.cfg
grep -q 'root=LABEL=rootfs' /boot/grub/grub.cfg ||
    sed -i -E 's#root=(UUID=|/dev/)[^ ]+#root=LABEL=rootfs#' /boot/grub/grub.cfg
umount /boot/efi
