#!/bin/sh
# wheel.sh DIRECTORY: builds the wheel of this tree into DIRECTORY, the same bytes for the same tree.
# PYTHON= is the interpreter, WHEELS= a folder with setuptools where the network must not be asked.
set -eu

out=$(mkdir -p "$1" && cd "$1" && pwd)
tree=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-/usr/bin/python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A copy: the tree may be read-only, and setuptools leaves things behind.
mkdir "$work/tree"
cp -R "$tree/proxy" "$tree/appliance" "$tree/setup.py" "$tree/pyproject.toml" \
    "$tree/requirements.in" "$work/tree/"
# The pinned setuptools, with its hashes.
awk '/^setuptools==/ { on = 1 } on { print } on && !/\\$/ { exit }' \
    "$tree/requirements-dev.txt" >"$work/build.txt"
pip() { "$python" -m pip -q --disable-pip-version-check --no-cache-dir "$@"; }
has_setuptools() {
    "$python" -c 'import sys, importlib.metadata as m; sys.exit(m.version("setuptools") != sys.argv[1])' \
        "$(sed -n 's/^setuptools==\([^ ]*\).*/\1/p' "$work/build.txt")" 2>/dev/null
}
if ! has_setuptools; then
    "$python" -m venv "$work/venv"
    python=$work/venv/bin/python
    if [ -n "${WHEELS:-}" ]; then
        pip install --require-hashes --no-index --find-links "$WHEELS" -r "$work/build.txt"
    else
        pip install --require-hashes -r "$work/build.txt"
    fi
fi
export SOURCE_DATE_EPOCH=315532800
pip wheel --no-deps --no-build-isolation --no-index -w "$out" "$work/tree"
