#!/bin/sh
# The image's part of `make test`: bakes it from this tree, without the formats for other
# hypervisors, and starts it once. Where that cannot be, says so and why.
set -eu

tree=$(CDPATH='' cd "$(dirname "$0")/../.." && pwd)
cd "$tree"

skip() {
    echo "SKIPPED the image: $*"
    exit 0
}

[ "$(id -u)" = 0 ] || skip "baking it needs root (files that belong to others)"
sh tests/packages.sh image
for program in packer qemu-system-x86_64 qemu-img mmdebstrap sfdisk mke2fs mkfs.vfat mcopy; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || skip "$program cannot be had here"
done
[ -c /dev/net/tun ] || skip "there is no /dev/net/tun for the machine's network"
unshare --mount --net --pid --fork true 2>/dev/null || skip "no namespaces may be made here"

export IMAGE_OUT="$tree/dist/image-ci"
FORMATS=qcow2 COMPRESS=no sh packer/image.sh
exec .venv/bin/python -m pytest -p no:cacheprovider -q -s tests/image/test_ovf.py \
    tests/image/test_boot.py tests/image/test_verify.py tests/image/test_bill.py \
    tests/image/test_clouds.py
