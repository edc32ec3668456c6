#!/bin/sh
# Installs the appliance from this tree: `make appliance-install`, as root on Debian 12 or 13, in a
# virtual machine, a container or the root of an image (chroot). Run again it changes only what is
# different. Nothing is started and the network is not touched: that begins with the next start.
#   WHEELS=DIR   Python packages come from there, the network is not asked (`make wheels`)
set -eu

tree=$(cd "$(dirname "$0")/.." && pwd)
home=/opt/agent-proxy
python=/usr/bin/python3
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$tree/proxy/__init__.py")
release=$home/releases/$version

say() { echo "==> $*"; }

refuse() {
    echo "appliance-install: $*" >&2
    exit 1
}

check_machine() {
    [ "$(id -u)" = 0 ] || refuse "it changes the whole machine: run it as root"
    # shellcheck disable=SC1091  # of the machine, not of this tree
    name=$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-}")
    case $name in
    "debian 12" | "debian 13") ;;
    *) refuse "this is $name; Debian 12 and 13 are supported" ;;
    esac
}

install_packages() {
    missing=
    # shellcheck disable=SC2013  # one word a line
    for package in $(grep -v '^#' "$tree/appliance/packages.txt"); do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "Installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # Packages must not start the services that they bring (invoke-rc.d(8)).
    export RUNLEVEL=1
    apt-get update -q >/dev/null
    # shellcheck disable=SC2086  # a list of words
    apt-get install -y -q --no-install-recommends $missing >/dev/null
}

install_release() {
    say "Building the wheel of $version"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    PYTHON=$python sh "$tree/appliance/wheel.sh" "$work"
    digest=$( (cd "$work" && sha256sum ./*.whl && sha256sum <"$tree/requirements.txt") | sha256sum)
    install -d -m 755 "$release"
    if [ "$(cat "$release/digest" 2>/dev/null)" != "$digest" ]; then
        say "Installing $version into $release"
        rm -rf "$release/venv" "$release/digest"
        "$python" -m venv "$release/venv"
        install_wheels "$work"
        echo "$digest" >"$release/digest"
    fi
    # What is no Python of a release: units and drop-ins, and the files of conf/.
    rm -rf "$release/files" "$release/conf"
    cp -R "$tree/appliance/files" "$release/files"
    cp -R "$tree/conf" "$release/conf"
    chown -R root:root "$release"
    chmod -R go-w,a+rX "$release"
    rm -rf "$work" # here, since no trap is left after exec
}

install_wheels() {
    if [ -n "${WHEELS:-}" ]; then
        pip install --require-hashes --no-index --find-links "$WHEELS" -r "$tree/requirements.txt"
    else
        pip install --require-hashes -r "$tree/requirements.txt"
    fi
    # By name: of a file pip keeps the path, which is another one each time.
    pip install --no-deps --no-index --find-links "$1" "agent-proxy==$version"
}

pip() { "$release/venv/bin/python" -m pip -q --disable-pip-version-check --no-cache-dir "$@"; }

check_machine
install_packages
install_release
say "Placing units, drop-ins and settings"
cd /
exec "$release/venv/bin/python" -m appliance.install "$version"
