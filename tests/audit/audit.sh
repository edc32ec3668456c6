#!/bin/sh
# audit.sh PIP-AUDIT: asks for known vulnerabilities of what is pinned. Exit codes: 0 none known,
# 1 some are, 0 with SKIPPED and the reason where the service cannot be asked.
set -eu

answer=$(mktemp)
unreachable='could not be audited|ConnectionError|ServiceError|Max retries|Timeout'
trap 'rm -f "$answer"' EXIT
for file in requirements.txt requirements-dev.txt; do
    # --strict: a package that the service does not know of is no package without vulnerabilities.
    if "$1" --strict --require-hashes --disable-pip --progress-spinner off -r "$file" \
        >"$answer" 2>&1; then
        echo "==> $file: no known vulnerabilities"
    elif ! grep -Eq "$unreachable" "$answer"; then
        cat "$answer"
        exit 1
    elif "$1" --require-hashes --disable-pip --progress-spinner off -r "$file" 2>&1 |
        grep -E 'Found [0-9]+ known'; then
        exit 1 # of those that it does know
    else
        echo "SKIPPED $file: the vulnerability service cannot be asked from here:"
        tail -n 1 "$answer"
    fi
done
