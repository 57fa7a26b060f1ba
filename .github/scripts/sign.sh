#!/usr/bin/env bash
# Sign the files of a release with the GPG key of the secrets: sign.sh FOLDER [FILE...]
# Without FILE, every file of FOLDER. Makes FILE.asc beside each FILE and writes the public key to FOLDER/gpg-public-key.asc.
set -euo pipefail

folder=${1:?usage: sign.sh FOLDER [FILE...]}
here=$(dirname "$0")
shift
[[ $# -gt 0 ]] || set -- "$folder"/*
secrets=${SECRETS_DIR:-/opt/github-runner/secrets}

for needed in gpg_private_key gpg_passphrase gpg_public_key; do
    [[ -s $secrets/$needed ]] || { echo "$secrets/$needed is missing or empty" >&2; exit 2; }
done

# A keyring of our own, short enough for gpg-agent's socket, gone with the agent at the end.
GNUPGHOME=$(mktemp -d /tmp/sign.XXXXXX)
export GNUPGHOME
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
echo 's2k-count 65536' >"$GNUPGHOME/gpg-agent.conf" # lives for seconds beside its passphrase: need not be slow
unlocked=(--batch --quiet --pinentry-mode loopback --passphrase-file "$secrets/gpg_passphrase")
"$here/gpg-key.sh" "$secrets/gpg_private_key" | gpg "${unlocked[@]}" --import

"$here/gpg-key.sh" "$secrets/gpg_public_key" >"$folder/gpg-public-key.asc"
if ! grep -q -e '-----BEGIN PGP' "$folder/gpg-public-key.asc"; then # base64 of the packets, without armour
    gpg --batch --quiet --import <"$folder/gpg-public-key.asc"
    fingerprint=$(gpg --batch --with-colons --show-keys "$folder/gpg-public-key.asc" | awk -F: '$1 == "fpr" {print $10; exit}')
    gpg --batch --armor --export "$fingerprint" >"$GNUPGHOME/armoured"
    mv "$GNUPGHOME/armoured" "$folder/gpg-public-key.asc"
fi
for file in "$@"; do
    [[ -f $file && $file != *.asc ]] || continue
    gpg "${unlocked[@]}" --yes --armor --detach-sign --output "$file.asc" "$file"
done

# A public key that is not the private one's would be noticed by operators only.
"$here/verify.sh" --offline "$folder" "$secrets/gpg_public_key"
