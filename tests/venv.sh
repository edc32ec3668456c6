#!/bin/sh
# venv.sh DIRECTORY: makes a virtual environment with pip, installing Debian's python3-venv first
# where it is missing and that is allowed.
set -eu

python=${PYTHON:-python3}
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "$python has no venv: install it as root with: apt-get install python3-venv" >&2
        exit 1
    fi
    echo "==> Installing python3-venv"
    apt-get update -q >/dev/null
    apt-get install -y -q python3-venv >/dev/null
fi
echo "==> Making $1"
"$python" -m venv "$1"
