#!/bin/sh
# accelerator.sh KERNEL INITRD: prints kvm where it carries a guest, else tcg. /dev/kvm may be there
# and not work (nested virtualisation: aborts, or spins), so a kernel is started and must say that
# it came as far as its first program.
set -eu

if [ -w /dev/kvm ]; then
    said=$(timeout 10 qemu-system-x86_64 -accel kvm -cpu host -m 512 -display none -no-reboot \
        -monitor none -serial stdio -kernel "$1" -initrd "$2" -append 'console=ttyS0 panic=-1' \
        2>/dev/null </dev/null || true) # ended by timeout or abort: what it said is what counts
    case $said in
    *"Run /init as init process"*) echo kvm && exit ;;
    esac
fi
echo tcg
