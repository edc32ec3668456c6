#!/bin/sh
# wheels.sh DIRECTORY PYTHON-VERSION...: downloads the pinned wheels for these Pythons (3.11 is that
# of Debian 12, 3.13 that of Debian 13), and setuptools to build ours with. `make wheels`. What is
# there need not be asked for again: appliance-install and releases work without a network then.
set -eu

out=$1
shift
tree=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-/usr/bin/python3}
mkdir -p "$out"
work=$(mktemp)
trap 'rm -f "$work"' EXIT
cat "$tree/requirements.txt" >"$work"
awk '/^setuptools==/ { on = 1 } on { print } on && !/\\$/ { exit }' \
    "$tree/requirements-dev.txt" >>"$work"
for version in "$@"; do
    "$python" -m pip download -q --disable-pip-version-check --require-hashes --no-deps \
        --only-binary=:all: --python-version "$version" --implementation cp \
        --abi "cp$(echo "$version" | tr -d .)" --abi abi3 --abi none \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 --platform manylinux_2_5_x86_64 \
        -d "$out" -r "$work"
done
