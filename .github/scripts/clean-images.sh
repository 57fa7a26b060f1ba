#!/usr/bin/env bash
# Remove from the runner's engine what a release left there: clean-images.sh VERSION
# That is the image of VERSION, and the layers that earlier builds of Magister left without a name.
set -euo pipefail

version=${1:?usage: clean-images.sh VERSION}
engine=${ENGINE:-docker}
name=${MAGISTER_NAME:-magister}

if "$engine" image inspect "$name:$version" >/dev/null 2>&1; then
    "$engine" image rm --force "$name:$version" >/dev/null
fi
"$engine" image prune --force --filter label=org.opencontainers.image.title=magister >/dev/null
echo "removed $name:$version and what builds left without a name"
