#!/usr/bin/env bash
# Roll a release back: rollback.sh FOLDER WHY
# FOLDER has the release's files, as downloaded. They are verified, `latest` goes back in every registry to
# what it was before the release, and a record, rollback-TIME.json, is made and signed.
set -euo pipefail

folder=${1:?usage: rollback.sh FOLDER WHY}
why=${2:?usage: rollback.sh FOLDER WHY}
secrets=${SECRETS_DIR:-/opt/github-runner/secrets}
here=$(dirname "$0")

"$here/verify.sh" --offline "$folder" "$secrets/gpg_public_key"
# Signed also when it stops half-way: the record says what was meant to move.
trap '"$here/sign.sh" "$folder" "$folder"/rollback-*.json' EXIT
python3 "$here/latest.py" rollback "$folder/release-record.json" --why "$why"
