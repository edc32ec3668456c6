#!/bin/sh
# export.sh DISK VERSION DIRECTORY FORMAT...: makes what is handed to operators from Packer's disk.
#
# FORMAT is qcow2 (KVM, OpenStack, CloudStack), ova (vSphere, VirtualBox), vhd (Hyper-V, XenServer;
# dynamic), azure (fixed VHD) or raw. The last two are as large as the disk. Every disk is compared
# with Packer's sector by sector. COMPRESS=no makes a qcow2 for one use at once, ten times as fast.
# Guarantees DIRECTORY/SHA256SUMS over all that it made.
set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
disk=$1
version=$2
out=$3
shift 3
name=agent-proxy-$version
compressed=-c
[ "${COMPRESS:-}" != no ] || compressed=

say() { echo "==> $*"; }

convert() {
    say "Making $(basename "$2")"
    qemu-img convert -O "$1" ${3:+-o "$3"} ${4:+"$4"} "$disk" "$2"
}

compare() { qemu-img compare -q -f qcow2 -F "$1" "$disk" "$2"; }

make_ova() {
    work=$(mktemp -d)
    vmdk=$work/$name-disk1.vmdk
    convert vmdk "$vmdk" subformat=streamOptimized,adapter_type=lsilogic,compat6
    compare vmdk "$vmdk"
    capacity=$(qemu-img info --output=json "$disk" | sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p' | head -n 1)
    sed -e "s/@VERSION@/$version/g" -e "s/@VMDK@/$name-disk1.vmdk/" \
        -e "s/@SIZE@/$(stat -c %s "$vmdk")/" -e "s/@CAPACITY@/$capacity/" \
        "$here/appliance.ovf" >"$work/$name.ovf"
    (cd "$work" && sha256sum --tag "$name.ovf" "$name-disk1.vmdk" |
        sed 's/^SHA256 (\(.*\)) = /SHA256(\1)= /' >"$name.mf")
    # The order is the standard's: descriptor, manifest, disks (DSP0243 2.1).
    tar --format=ustar --owner=0 --group=0 --numeric-owner -cf "$out/$name.ova" \
        -C "$work" "$name.ovf" "$name.mf" "$name-disk1.vmdk"
    rm -rf "$work"
}

mkdir -p "$out"
for format in "$@"; do
    case $format in
    qcow2)
        convert qcow2 "$out/$name.qcow2" '' "$compressed"
        compare qcow2 "$out/$name.qcow2"
        ;;
    ova) make_ova ;;
    vhd)
        convert vpc "$out/$name.vhd" subformat=dynamic,force_size=on
        compare vpc "$out/$name.vhd"
        ;;
    azure)
        convert vpc "$out/$name-fixed.vhd" subformat=fixed,force_size=on
        compare vpc "$out/$name-fixed.vhd"
        ;;
    raw)
        convert raw "$out/$name.raw"
        compare raw "$out/$name.raw"
        ;;
    *)
        echo "export.sh: there is no format $format: qcow2, ova, vhd, azure or raw" >&2
        exit 1
        ;;
    esac
done
(cd "$out" && find . -maxdepth 1 -type f ! -name 'SHA256SUMS*' -printf '%P\n' | sort |
    xargs sha256sum >SHA256SUMS)
