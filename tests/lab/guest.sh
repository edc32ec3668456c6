#!/bin/sh
# guest.sh [SCENARIO...]: the lab inside a virtual machine, on Debian's own kernel.
#
# For what the kernel of this machine cannot do: VRF devices, above all. Without a word it runs the
# scenario `vrf`. The guest has this tree, Debian 13's Python and no network card. Needs root, for
# mmdebstrap; its root is kept in the cache until packages or requirements change. The exit code is
# the lab's; 3 if the guest never came to its end.
set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
tree=$(CDPATH='' cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/agent-proxy/guest
packages=ca-certificates,haproxy,initramfs-tools,iproute2,linux-image-amd64,nftables,openssl,python3,python3-venv
patience_s=${PATIENCE_S:-900}

say() { echo "==> $*"; }

[ "$(id -u)" = 0 ] || {
    echo "SKIPPED: a guest for the lab needs root"
    exit 0
}
for program in mmdebstrap qemu-system-x86_64 mke2fs; do
    command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || {
        echo "SKIPPED: $program is not installed (sh tests/packages.sh image)"
        exit 0
    }
done

make_root() {
    say "Making Debian 13 with the packages of the lab"
    rm -rf "$cache"
    mkdir -p "$cache"
    mmdebstrap --quiet --variant=minbase --mode=root --include="$packages" trixie "$cache/root"
    say "Installing pinned packages for its Python"
    sh "$tree/appliance/wheels.sh" "$cache/root/wheels" 3.13
    # The stand-ins speak through these two.
    awk '/^[a-z]/ { on = /^(h11|wsproto)==/ } on' "$tree/requirements-dev.txt" >"$cache/stand-ins.txt"
    "${PYTHON:-/usr/bin/python3}" -m pip download -q --disable-pip-version-check --require-hashes \
        --no-deps --only-binary=:all: -d "$cache/root/wheels" -r "$cache/stand-ins.txt"
    cat "$tree/requirements.txt" "$cache/stand-ins.txt" >"$cache/root/wheels/requirements.txt"
    chroot "$cache/root" python3 -m venv /venv
    chroot "$cache/root" /venv/bin/pip install -q --isolated --disable-pip-version-check --no-index \
        --find-links /wheels --require-hashes -r /wheels/requirements.txt
    echo "$recipe" >"$cache/done"
}

recipe=$(cat "$0" "$tree/requirements.txt" | sha256sum | cut -c1-16)
[ "$(cat "$cache/done" 2>/dev/null)" = "$recipe" ] || make_root

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "Making its disk from this tree"
rm -rf "$cache/root/lab"
mkdir -p "$cache/root/lab"
(cd "$tree" && git ls-files -z --cached --others --exclude-standard |
    tar --null -T - --ignore-failed-read -cf -) | tar -xf - -C "$cache/root/lab"
cat >"$cache/root/start" <<START
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mkdir -p /dev/pts /dev/shm /run/netns
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
ip link set lo up
cd /lab
export PYTHON_COLORS=0
/venv/bin/python -m tests.lab ${*:-vrf}
echo "LAB ENDED WITH \$?"
echo o >/proc/sysrq-trigger
sleep 60
START
chmod 755 "$cache/root/start"
truncate -s 3G "$work/disk"
mke2fs -q -t ext4 -d "$cache/root" "$work/disk"

accelerator=$(sh "$tree/packer/accelerator.sh" "$cache"/root/boot/vmlinuz-* "$cache"/root/boot/initrd.img-*)
say "Starting it (QEMU by $accelerator); at most $patience_s s"
[ "$accelerator" = kvm ] && cpu=host || cpu=max
timeout "$patience_s" qemu-system-x86_64 -nodefaults -display none -no-reboot -monitor none \
    -machine "q35,accel=$accelerator" -cpu "$cpu" -smp 2 -m 2048 -serial stdio -nic none \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" -device virtio-rng-pci \
    -kernel "$cache"/root/boot/vmlinuz-* -initrd "$cache"/root/boot/initrd.img-* \
    -append "root=/dev/vda rw console=ttyS0 quiet panic=-1 init=/start" </dev/null |
    tr -d '\r' | tee "$work/said"
code=$(sed -n 's/.*LAB ENDED WITH \([0-9]*\).*/\1/p' "$work/said" | tail -1)
exit "${code:-3}"
