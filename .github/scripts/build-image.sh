#!/usr/bin/env bash
# Build wheel, executable and image, and write the image to a folder: build-image.sh VERSION LAYOUT
# The images to build with and to run on are those of the runner's registry.env.
set -euo pipefail

version=${1:?usage: build-image.sh VERSION LAYOUT}
layout=${2:?usage: build-image.sh VERSION LAYOUT}
here=$(dirname "$0")
export MAGISTER_NAME=${MAGISTER_NAME:-magister} IMAGE_TAG=$version

settings=$(python3 "$here/registries.py" build-arguments)
while IFS='=' read -r name value; do
    export "$name=$value"
done <<<"$settings"

make build
make ci
"$here/export-image.sh" "$MAGISTER_NAME:$IMAGE_TAG" "$layout"
