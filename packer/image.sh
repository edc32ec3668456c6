#!/bin/sh
# image.sh: builds the image from this tree into IMAGE_OUT (dist/image) in the formats FORMATS.
#
#   FORMATS="qcow2 ova vhd"   also azure and raw, which are as large as the disk
#   SIGNING_KEY=FILE          Ed25519, PEM: signs SHA256SUMS
#   FRESH=yes                 makes the base disk again, with the newest Debian packages
# The base disk and the wheels are kept in IMAGE_CACHE; with both there no network is needed.
set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
tree=$(dirname "$here")
out=${IMAGE_OUT:-$tree/dist/image}
cache=${IMAGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/agent-proxy/image}
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$tree/proxy/__init__.py")

say() { echo "==> $*"; }

[ "$(id -u)" = 0 ] || {
    echo "image.sh: mmdebstrap needs root for files that belong to others" >&2
    exit 1
}

# A base disk is good for the lists and the script that it was made from.
recipe=$(cat "$here/base.sh" "$here/packages.txt" "$tree/appliance/packages.txt" | sha256sum | cut -c1-16)
base=$cache/base-$recipe
if [ "${FRESH:-}" = yes ] || [ ! -e "$base/done" ]; then
    rm -rf "$base"
    mkdir -p "$base"
    ssh-keygen -q -t ed25519 -N '' -C build -f "$base/build"
    sh "$here/base.sh" "$base"
    touch "$base/done"
fi

say "Gathering the product: this tree and its wheels"
sh "$tree/appliance/wheels.sh" "$cache/wheels" 3.13
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/product"
(cd "$tree" && git ls-files -z --cached --others --exclude-standard -- appliance conf proxy setup.py \
    pyproject.toml requirements.in requirements.txt requirements-dev.txt README.md |
    tar --null -T - -cf -) | tar -xf - -C "$work/product"
cp -r "$cache/wheels" "$work/product/wheels"
tar -C "$work/product" -cf "$work/product.tar" .

accelerator=$(sh "$here/accelerator.sh" "$base/vmlinuz" "$base/initrd")
say "Baking with Packer (QEMU by $accelerator)"
CHECKPOINT_DISABLE=1 packer build -color=false -only=qemu.appliance \
    -var "work=$base" -var "output=$work/disk" -var "product=$work/product.tar" \
    -var "accelerator=$accelerator" "$here"

rm -rf "$out"
mkdir -p "$out"
cp "$base/packages.txt" "$out/agent-proxy-$version.packages.txt"
# shellcheck disable=SC2086  # a list of words
sh "$here/export.sh" "$work/disk/agent-proxy.qcow2" "$version" "$out" ${FORMATS:-qcow2 ova vhd}
if [ -n "${SIGNING_KEY:-}" ]; then
    say "Signing"
    openssl pkeyutl -sign -rawin -inkey "$SIGNING_KEY" -in "$out/SHA256SUMS" -out "$out/SHA256SUMS.sig"
else
    say "SIGNING_KEY is not set: SHA256SUMS is not signed"
fi
ls -lh "$out"
