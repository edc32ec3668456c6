#!/bin/sh
# base.sh DIRECTORY: makes the disk that Packer starts from, without an installer.
#
# Guarantees DIRECTORY/base.qcow2 (GPT: BIOS boot, ESP, root), the kernel and initrd beside it for
# Packer's direct boot, and packages.txt with every Debian package and its version. Needs root, for
# mmdebstrap and for files that belong to others; no loop device and no kernel support for
# partitions: a file system is made from a folder and written into the disk at its offset.
#
# The disk holds a throw-away user with the public key DIRECTORY/build.pub, through whom Packer gets
# in. It is removed by 99-clean.sh and the shutdown command, and 90-verify.sh fails if it stays.
set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
work=$1
suite=${SUITE:-trixie}
disk_mib=${DISK_MIB:-4096}
root=$work/root

# What sfdisk is told, and where mke2fs and dd write: one place, in MiB.
bios_at=1
esp_at=2
esp_mib=64
root_at=$((esp_at + esp_mib))
root_mib=$((disk_mib - root_at - 1))

say() { echo "==> $*"; }

make_root() {
    say "Unpacking Debian $suite"
    rm -rf "$root"
    packages=$(cat "$here/packages.txt" "$here/../appliance/packages.txt" | grep -v '^#' | tr '\n' ,)
    # Documentation stays out, licences stay in: their texts are owed to whoever gets the image.
    mmdebstrap --quiet --variant=minbase --mode=root --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        "$suite" "$root"
    # shellcheck disable=SC2016  # dpkg-query's own variables
    chroot "$root" dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' >"$work/packages.txt"
}

add_build_user() {
    say "Adding the throw-away user that Packer comes in by"
    chroot "$root" useradd --create-home --shell /bin/sh packer
    install -d -m 700 -o 1000 -g 1000 "$root/home/packer/.ssh"
    install -m 600 -o 1000 -g 1000 "$work/build.pub" "$root/home/packer/.ssh/authorized_keys"
    echo 'packer ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/packer"
    chmod 440 "$root/etc/sudoers.d/packer"
    printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/00-build.network"
    echo 'LABEL=rootfs / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
    chroot "$root" systemctl --quiet enable systemd-networkd ssh
}

make_disk() {
    say "Making the disk"
    cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
    cp "$root"/boot/initrd.img-* "$work/initrd"
    rm -f "$work/base.raw" "$work/esp"
    truncate -s "${disk_mib}M" "$work/base.raw"
    sfdisk -q "$work/base.raw" <<PARTITIONS
label: gpt
start=${bios_at}MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name=bios
start=${esp_at}MiB, size=${esp_mib}MiB, type=uefi, name=esp
start=${root_at}MiB, size=${root_mib}MiB, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, name=root
PARTITIONS
    # GRUB reads the root file system: it does not know the newest features.
    mke2fs -q -t ext4 -L rootfs -O '^metadata_csum_seed,^orphan_file' -d "$root" \
        -E "offset=$((root_at * 1048576))" "$work/base.raw" "${root_mib}M"
    truncate -s "${esp_mib}M" "$work/esp"
    mkfs.vfat -n ESP "$work/esp" >/dev/null
    dd if="$work/esp" of="$work/base.raw" bs=1M seek="$esp_at" conv=notrunc status=none
    qemu-img convert -O qcow2 "$work/base.raw" "$work/base.qcow2"
    rm -rf "$work/base.raw" "$work/esp" "$root"
}

make_root
add_build_user
make_disk
