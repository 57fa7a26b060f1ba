#!/usr/bin/env bash
# Rehearse a release on this machine with act: act.sh [ARGUMENTS FOR act...]
# The secrets are those of .act-secrets; act-secrets.sh makes some for a registry on loopback.
set -euo pipefail
cd "$(dirname "$0")/../.."

secrets=$PWD/.act-secrets
for needed in act docker; do
    command -v "$needed" >/dev/null || { echo "$needed is not installed; docs/workflow-testing.md says where to get it" >&2; exit 2; }
done
[[ -d $secrets ]] || { echo "$secrets is not there; make it with .github/scripts/act-secrets.sh" >&2; exit 2; }

# A tag of the present version, as GitHub would tell of it.
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' magister/__init__.py)
event=$(mktemp)
trap 'rm -f "$event"' EXIT
printf '{"ref": "refs/tags/v%s"}\n' "$version" >"$event"

# What a self-hosted runner has installed.
docker build --tag magister-act - <<'DOCKERFILE'
FROM catthehacker/ubuntu:act-24.04
RUN apt-get update && apt-get install -y --no-install-recommends gh gnupg jq make python3-venv skopeo
DOCKERFILE

act push --workflows .github/workflows/release.yml --eventpath "$event" \
    --container-options "--volume=$secrets:/opt/github-runner/secrets:ro" "$@"
