#!/usr/bin/env bash
# Make .act-secrets for rehearsals: a key for nobody, and a registry on loopback: act-secrets.sh [HOST:PORT]
# Never overwrites what is there.
set -euo pipefail
cd "$(dirname "$0")/../.."

registry=${1:-127.0.0.1:5000}
secrets=.act-secrets
[[ ! -e $secrets ]] || { echo "$secrets is there already" >&2; exit 2; }
umask 077
mkdir "$secrets"

for token in ci_gh_pat ci_gh_classic_pat do_token dh_token; do
    echo rehearsal >"$secrets/$token"
done
grep -E '^(BUILD|RUNTIME)_IMAGE=' .env.maintainer >"$secrets/registry.env"
cat >>"$secrets/registry.env" <<SETTINGS
DO_REGISTRY_NAME=rehearsal-do
DH_USERNAME=rehearsal-dh
GHCR_HOST=$registry
DH_HOST=$registry
DO_HOST=$registry
SETTINGS

GNUPGHOME=$(mktemp -d /tmp/key.XXXXXX)
export GNUPGHOME
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
echo 's2k-count 65536' >"$GNUPGHOME/gpg-agent.conf" # a rehearsal's key protects nothing
echo rehearsal >"$secrets/gpg_passphrase"
unlocked=(--batch --quiet --pinentry-mode loopback --passphrase-file "$secrets/gpg_passphrase")
gpg "${unlocked[@]}" --quick-generate-key "Rehearsal <rehearsal@example.invalid>" ed25519 sign 1y
gpg "${unlocked[@]}" --armor --export-secret-keys >"$secrets/gpg_private_key"
gpg "${unlocked[@]}" --armor --export >"$secrets/gpg_public_key"
echo "made $secrets for $registry"
