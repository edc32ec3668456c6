#!/bin/sh
# image.sh: builds the image from this tree into IMAGE_OUT (dist/image) in the formats FORMATS.
#
#   FORMATS="qcow2 ova vhd"   also azure and raw, which are as large as the disk
#   SIGNING_KEY=FILE          Ed25519, PEM: signs SHA256SUMS
#   FRESH=yes                 unpacks Debian again, with its newest packages
# Debian and the wheels are kept in IMAGE_CACHE; with both there no network is needed.
set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
tree=$(dirname "$here")
out=${IMAGE_OUT:-$tree/dist/image}
cache=${IMAGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/agent-proxy/image}
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$tree/proxy/__init__.py")
# All that is made here is dated so: the same tree gives the same files.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$tree" log -1 --format=%ct 2>/dev/null || echo 315532800)}
export SOURCE_DATE_EPOCH
begun=$(date +%s)
last=$begun

say() { echo "==> $*"; }

# took: says how long the step before has taken.
took() {
    now=$(date +%s)
    echo "    $((now - last)) s, $((now - begun)) s in all"
    last=$now
}

[ "$(id -u)" = 0 ] || {
    echo "image.sh: mmdebstrap needs root for files that belong to others" >&2
    exit 1
}

# A base is good for the lists and the scripts that it was made from.
recipe=$(cat "$here/base.sh" "$here"/initramfs/* "$here/packages.txt" "$tree/appliance/packages.txt" |
    sha256sum | cut -c1-16)
base=$cache/debian-$recipe
if [ "${FRESH:-}" = yes ] || [ ! -e "$base/done" ]; then
    say "Unpacking Debian"
    rm -rf "$base"
    mkdir -p "$base"
    # Packages keep their own times; that of the tree would make what Python compiled look stale.
    env -u SOURCE_DATE_EPOCH sh "$here/base.sh" "$base"
    touch "$base/done"
    took
fi

say "Gathering the product: this tree and its wheels"
pins=$(cat "$tree/requirements.txt" "$tree/requirements-dev.txt" | sha256sum | cut -c1-16)
wheels=$cache/wheels-$pins
if [ ! -e "$wheels/done" ]; then
    sh "$tree/appliance/wheels.sh" "$wheels" 3.13
    touch "$wheels/done"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/product"
(cd "$tree" && git ls-files -z --cached --others --exclude-standard -- appliance conf packer/scripts \
    proxy setup.py pyproject.toml requirements.in requirements.txt requirements-dev.txt README.md |
    tar --null -T - -cf -) | tar -xf - -C "$work/product"
cp -r "$wheels" "$work/product/wheels"
took

say "Installing the product, making the disk"
sh "$here/disk.sh" "$base" "$work/product" "$work"
took

accelerator=$(sh "$here/accelerator.sh" "$work/vmlinuz" "$work/initrd")
say "Baking with Packer (QEMU by $accelerator)"
CHECKPOINT_DISABLE=1 packer build -color=false -timestamp-ui -only=qemu.appliance \
    -var "work=$work" -var "output=$work/baked" -var "accelerator=$accelerator" "$here" || {
    echo "image.sh: what the guest said at last:" >&2
    tail -n 20 "$work/serial.log" >&2
    exit 1
}
took

rm -rf "$out"
mkdir -p "$out"
cp "$base/packages.txt" "$out/agent-proxy-$version.packages.txt"
say "Writing the bill of materials"
sh "$here/bill.sh" "$work/baked/agent-proxy.qcow2" "$out/agent-proxy-$version.cdx.json"
# shellcheck disable=SC2086  # a list of words
sh "$here/export.sh" "$work/baked/agent-proxy.qcow2" "$version" "$out" ${FORMATS:-qcow2 ova vhd}
took
if [ -n "${SIGNING_KEY:-}" ]; then
    say "Signing"
    openssl pkeyutl -sign -rawin -inkey "$SIGNING_KEY" -in "$out/SHA256SUMS" -out "$out/SHA256SUMS.sig"
else
    say "SIGNING_KEY is not set: SHA256SUMS is not signed"
fi
ls -lh "$out"
