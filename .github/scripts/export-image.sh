#!/usr/bin/env bash
# Write an image from an engine's store to a folder: export-image.sh IMAGE LAYOUT
# What is pushed, signed and described later is this folder, so the digest is settled here.
# Docker's format, which all three registries take: OCI's has no HEALTHCHECK.
set -euo pipefail

image=${1:?usage: export-image.sh IMAGE LAYOUT}
layout=${2:?usage: export-image.sh IMAGE LAYOUT}
engine=${ENGINE:-docker}

rm -rf "$layout"
mkdir -p "$(dirname "$layout")"
case $(basename "$engine") in
    podman | buildah)
        "$engine" push --quiet --format v2s2 --compression-format gzip "$image" "dir:$layout"
        ;;
    docker)
        archive=$(mktemp -d)
        trap 'rm -rf "$archive"' EXIT
        "$engine" save --output "$archive/image.tar" "$image"
        skopeo copy --quiet --format v2s2 --dest-compress "docker-archive:$archive/image.tar" "dir:$layout"
        ;;
    *)
        echo "ENGINE is $engine; it must be docker, podman or buildah" >&2
        exit 2
        ;;
esac
