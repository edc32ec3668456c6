#!/bin/sh
# release.sh KEY [WHEELS]: builds dist/agent-proxy-VERSION.release, signed with the Ed25519 private
# key in the file KEY (made by: openssl genpkey -algorithm ed25519 -out KEY). WHEELS is a folder as
# `make wheels` fills it; without one the wheels are downloaded. `make release`.
set -eu

tree=$(cd "$(dirname "$0")/.." && pwd)
if [ ! -r "${1:-}" ]; then
    echo "release: give the key that signs with KEY=FILE; it must not lie in this tree" >&2
    exit 1
fi
python=${PYTHON:-/usr/bin/python3}
out=${OUT:-$tree/dist}
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$tree/proxy/__init__.py")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
if [ -n "${2:-}" ]; then
    cp "$2"/*.whl "$work/"
else
    echo "==> Downloading wheels"
    sh "$tree/appliance/wheels.sh" "$work" 3.11 3.13
fi
echo "==> Building the wheel of $version"
PYTHON=$python WHEELS=$work sh "$tree/appliance/wheel.sh" "$work"
rm -f "$work"/setuptools-*.whl
"${BUILDER:-$tree/.venv/bin/python}" -m appliance.release_build --key "$1" --wheels "$work" \
    --tree "$tree" --version "$version" "$out/agent-proxy-$version.release"
echo "==> $out/agent-proxy-$version.release"
