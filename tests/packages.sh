#!/bin/sh
# Installs the Debian packages that tests and benchmarks use. Where that is not allowed, says what
# is missing; the tests that need it then say so and are skipped.
set -eu

missing=
need() {
    command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || missing="$missing $2"
}
need nginx nginx-light
need haproxy haproxy
need wrk wrk
need openssl openssl
need shellcheck shellcheck
need curl curl
need ip iproute2
need nft nftables
need systemd-nspawn systemd-container
need mmdebstrap mmdebstrap
need apparmor_parser apparmor
need bsdtar libarchive-tools
need mcopy mtools
need mkfs.vfat dosfstools
need xorriso xorriso
need testssl testssl.sh
need sslscan sslscan
need strace strace
need growpart cloud-guest-utils
need sfdisk fdisk
need mkfs.ext4 e2fsprogs
need losetup mount
need dnsmasq dnsmasq-base
need faketime faketime
need setpriv util-linux
need systemd-analyze systemd
need promtool prometheus
need rsyslogd "rsyslog rsyslog-openssl"
need sshd openssh-server
need systemd-analyze systemd
if [ "${1:-}" = image ]; then
    need packer packer
    need mmdebstrap mmdebstrap
    need qemu-system-x86_64 qemu-system-x86
    need qemu-img qemu-utils
    need mkfs.vfat dosfstools
    need sfdisk fdisk
    need mke2fs e2fsprogs
    need ssh-keygen openssh-client
    # debsecan's, in the judgement of the image
    /usr/bin/python3 -c 'import apt_pkg' 2>/dev/null || missing="$missing python3-apt"
    [ -e /usr/share/ovmf/OVMF.fd ] || missing="$missing ovmf"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "MISSING$missing: install them as root with: apt-get install$missing"
    exit 0
fi
echo "==> Installing$missing"
export DEBIAN_FRONTEND=noninteractive
# RUNLEVEL=1: packages must not start the services that they bring (invoke-rc.d(8)).
export RUNLEVEL=1
apt-get update -q >/dev/null
# shellcheck disable=SC2086  # a list of words
apt-get install -y -q --no-install-recommends $missing >/dev/null
