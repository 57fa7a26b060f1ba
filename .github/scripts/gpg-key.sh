#!/usr/bin/env bash
# Print a GPG key as gpg reads it: gpg-key.sh FILE
# FILE has the key in armour, or in base64 as one line for the runner's secrets.
set -euo pipefail

file=${1:?usage: gpg-key.sh FILE}
if grep -q -e '-----BEGIN PGP' "$file"; then
    cat "$file"
else
    base64 --decode --ignore-garbage "$file" 2>/dev/null || { echo "$file is no GPG key: neither armour nor base64" >&2; exit 2; }
fi
