#!/bin/sh
# compare.sh IMAGE IMAGE: says in which files two images differ, in content, owner, rights or kind.
# Files of packer/differs.txt may. Exit code 1 if others do. As root: owners are those of the files.
set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
root_at=$((66 * 1048576)) # as in disk.sh
esp_at=$((2 * 1048576))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# list IMAGE FILE: one line for each file: path, kind, rights, owner, link's target, SHA-256.
list() {
    qemu-img convert -O raw "$1" "$work/raw"
    mkdir "$work/tree"
    debugfs -R "rdump / $work/tree" "$work/raw?offset=$root_at" 2>"$work/said"
    ! grep -v '^debugfs ' "$work/said" >&2 || exit 2
    mcopy -s -i "$work/raw@@$esp_at" ::EFI "$work/tree/boot/efi/"
    (
        cd "$work/tree"
        find . ! -type f -printf '%p %y %m %U:%G %l -\n'
        find . -type f -printf '%p %y %m %U:%G - ' -exec sha256sum {} \; | sed 's/  \..*//'
    ) | LC_ALL=C sort >"$2"
    rm -rf "$work/raw" "$work/tree"
}

list "$1" "$work/one"
list "$2" "$work/two"
LC_ALL=C comm -3 "$work/one" "$work/two" | awk '{ print $1 }' | sort -u >"$work/differ"
echo "==> $(wc -l <"$work/one") and $(wc -l <"$work/two") files; these differ:"
cat "$work/differ"
# The patterns are whole paths, as of grep -E.
if grep -Evx -f "$here/differs.txt" "$work/differ" >"$work/unlisted"; then
    echo "compare.sh: packer/differs.txt does not have:" >&2
    cat "$work/unlisted" >&2
    exit 1
fi
