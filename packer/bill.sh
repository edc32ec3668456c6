#!/bin/sh
# bill.sh DISK OUTPUT: writes the bill of materials of what is on the disk (tests/audit/image_bill.py).
# Nothing is mounted: debugfs reads the file system where it lies in the disk. AUDIT_PYTHON has
# cyclonedx (`make image` makes .venv-audit).
set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
tree=$(dirname "$here")
disk=$1
out=$2
python=${AUDIT_PYTHON:-$tree/.venv-audit/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

qemu-img convert -O raw "$disk" "$work/raw"
start=$(sfdisk -d "$work/raw" | sed -n 's/.*start= *\([0-9]*\),.*/\1/p' | tail -n 1)
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$tree/proxy/__init__.py")
venv=/opt/agent-proxy/releases/$version/venv/lib/python3.13/site-packages

# take PATH: puts a file or folder of the disk into the work folder. debugfs ends with 0 whatever
# happens, so what it made is looked at.
take() {
    if [ "${2:-}" = folder ]; then
        order="rdump $1 $work"
    else
        order="dump $1 $work/$(basename "$1")"
    fi
    debugfs -R "$order" "$work/raw?offset=$((start * 512))" 2>"$work/said"
    [ -e "$work/$(basename "$1")" ] || {
        echo "bill.sh: the disk has no $1: $(cat "$work/said")" >&2
        exit 1
    }
}

take /var/lib/dpkg/status
take /usr/share/doc folder
take "$venv" folder
mv "$work/site-packages" "$work/site"
"$python" "$tree/tests/audit/image_bill.py" "$work" "$tree/requirements.txt" "$out"
