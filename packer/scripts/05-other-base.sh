#!/bin/sh
# Guarantees: a Debian 13 that came from elsewhere (a cloud's image, a template) has the packages and
# the labels of packer/base.sh's, and no cloud-init. Only for the builders of clouds.pkr.hcl.
set -eu

say() { echo "==> $*"; }

# shellcheck disable=SC1091  # of the machine, not of this tree
version=$(. /etc/os-release && echo "$ID $VERSION_ID")
[ "$version" = "debian 13" ] || {
    echo "this is $version; the image is made of debian 13" >&2
    exit 1
}
[ -d /sys/firmware/efi ] || [ -b /dev/disk/by-partlabel/bios ] || lsblk -no PARTTYPE |
    grep -qi 21686148-6449-6E6F-744E-656564454649 || {
    echo "the disk has neither a BIOS boot partition nor was it started by UEFI" >&2
    exit 1
}

say "Installing Debian's packages"
mkdir -p /tmp/product
tar -xf /tmp/product.tar -C /tmp/product
rm /tmp/product.tar
apt-get -qq update
# shellcheck disable=SC2046  # a list of words
apt-get -qq install -y --no-install-recommends dosfstools \
    $(cat /tmp/packages.txt /tmp/product/appliance/packages.txt | grep -v '^#')

say "Labels that fstab and GRUB go by"
e2label "$(findmnt -no SOURCE /)" rootfs
esp=$(lsblk -rno PATH,PARTTYPE | awk 'tolower($2) ~ /^c12a7328-/ { print $1; exit }')
[ -z "$(findmnt -no TARGET "$esp")" ] || umount "$esp"
fatlabel "$esp" ESP

say "Giving the throw-away user the file that is removed with it"
echo 'packer ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/packer
chmod 440 /etc/sudoers.d/packer
rm -f /etc/sudoers.d/90-cloud-init-users

say "Removing cloud-init and what only it needed"
apt-get -qq purge -y cloud-init netplan.io ifupdown dosfstools
apt-get -qq autoremove --purge -y
rm -rf /etc/cloud /var/lib/cloud /etc/netplan /etc/network
# Packer must get in again after nobody: the network stays up until the shutdown.
printf '[Match]\nName=e*\n[Network]\nDHCP=ipv4\n' >/etc/systemd/network/00-build.network
systemctl --quiet enable systemd-networkd
