#!/bin/sh
# disk.sh BASE PRODUCT DIRECTORY: makes the disk that Packer starts from. SOURCE_DATE_EPOCH is the
# time of the tree.
#
# BASE has root.tar of base.sh, PRODUCT the tree being built and its wheels. Guarantees
# DIRECTORY/disk.qcow2 (GPT: BIOS boot, ESP, root) with the product installed, and the kernel, initrd
# and key for Packer's way in. No loop device and no kernel support for partitions: a file system is
# made from a folder and written into the disk at its offset.
#
# The product is installed here and not in the guest, by the same script, since an emulated processor
# is some twenty times slower. The disk holds a throw-away user through whom Packer gets in. It is
# removed by 99-clean.sh and the shutdown command, and 90-verify.sh fails if it stays.
set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
base=$1
product=$2
work=$3
disk_mib=${DISK_MIB:-4096}
root=$work/root

# What sfdisk is told, and where mke2fs and dd write: one place, in MiB.
bios_at=1
esp_at=2
esp_mib=64
root_at=$((esp_at + esp_mib))
root_mib=$((disk_mib - root_at - 1))

# enter COMMAND...: run it in the root with nothing of this machine: no network, no environment.
enter() {
    # shellcheck disable=SC2016  # for the inner shell
    unshare --mount --net sh -c '
        root=$1; shift
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/run"
        exec env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8 chroot "$root" "$@"
    ' enter "$root" "$@"
}

install_product() {
    mkdir "$root"
    tar -C "$root" -xf "$base/root.tar"
    touch "$work/unpacked"
    mkdir "$root/tmp/product"
    cp -R "$product/." "$root/tmp/product"
    enter env "TREE_TIME=$SOURCE_DATE_EPOCH" sh /tmp/product/packer/scripts/10-product.sh
    rm -rf "$root/tmp/product"
}

add_build_user() {
    ssh-keygen -q -t ed25519 -N '' -C build -f "$work/build"
    # "*": no password fits, and sshd without PAM does not take the account for a locked one.
    enter useradd --create-home --shell /bin/sh --password '*' packer
    install -d -m 700 -o 1000 -g 1000 "$root/home/packer/.ssh"
    install -m 600 -o 1000 -g 1000 "$work/build.pub" "$root/home/packer/.ssh/authorized_keys"
    echo 'packer ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/packer"
    chmod 440 "$root/etc/sudoers.d/packer"
    cp "$here/build-ssh.service" "$here/build.target" "$root/etc/systemd/system/"
    enter systemctl --quiet enable build-ssh
    # Ours already now: the machine that builds may be busy, too.
    cp -R "$here/files/etc/systemd/system.conf.d" "$root/etc/systemd/"
    # The firewall would shut Packer out; loading AppArmor's profiles would only cost time.
    for unit in agent-proxy-firewall apparmor; do
        install -d "$root/etc/systemd/system/$unit.service.d"
        printf '[Unit]\nConditionKernelCommandLine=!systemd.unit=build.target\n' \
            >"$root/etc/systemd/system/$unit.service.d/build.conf"
    done
}

make_disk() {
    cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
    cp "$root"/boot/initrd.img-* "$work/initrd"
    truncate -s "${disk_mib}M" "$work/disk.raw"
    sfdisk -q "$work/disk.raw" <<PARTITIONS
label: gpt
label-id: $(uuid disk)
start=${bios_at}MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name=bios, uuid=$(uuid bios)
start=${esp_at}MiB, size=${esp_mib}MiB, type=uefi, name=esp, uuid=$(uuid esp)
start=${root_at}MiB, size=${root_mib}MiB, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, name=root, uuid=$(uuid root)
PARTITIONS
    # GRUB reads the root file system: it does not know the newest features.
    mke2fs -q -t ext4 -L rootfs -O '^metadata_csum_seed,^orphan_file' -U "$(uuid rootfs)" \
        -E "offset=$((root_at * 1048576)),hash_seed=$(uuid hash)" -d "$root" "$work/disk.raw" \
        "${root_mib}M"
    truncate -s "${esp_mib}M" "$work/esp"
    mkfs.vfat -n ESP -i "$(uuid vfat | cut -c1-8)" "$work/esp" >/dev/null
    dd if="$work/esp" of="$work/disk.raw" bs=1M seek="$esp_at" conv=notrunc status=none
    qemu-img convert -O qcow2 "$work/disk.raw" "$work/disk.qcow2"
    rm -rf "$work/disk.raw" "$work/esp" "$root"
}

# uuid NAME: the same one at each build; a machine's own are made by nobody, it goes by labels.
uuid() {
    echo "agent-proxy $1" | sha256sum |
        sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/\1-\2-4\3-8\4-\5/'
}

install_product
add_build_user
# What was made here and not unpacked from a package has the tree's time.
find "$root" -xdev -newer "$work/unpacked" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
make_disk
