#!/usr/bin/env bash
# Keep the files of a release at GitHub: github-release.sh WHAT TAG FOLDER, where WHAT is
#   fetch         bring back what an earlier try of this release recorded; there may be nothing
#   publish       make the release of TAG, or renew it, with every file of FOLDER
#   download      bring every file of the release into FOLDER
#   add-rollback  add the records of roll-backs in FOLDER, with their signatures
set -euo pipefail

usage='usage: github-release.sh fetch|publish|download|add-rollback TAG FOLDER'
what=${1:?$usage}
tag=${2:?$usage}
folder=${3:?$usage}
secrets=${SECRETS_DIR:-/opt/github-runner/secrets}
GH_TOKEN=$(<"$secrets/ci_gh_pat")
export GH_TOKEN

exists() {
    gh release view "$tag" --json tagName >/dev/null 2>&1
}

case $what in
    fetch)
        mkdir -p "$folder"
        if exists; then
            gh release download "$tag" --dir "$folder" --pattern release-record.json
        fi
        ;;
    publish)
        if exists; then
            gh release edit "$tag" --notes-file "$folder/notes.md"
            gh release upload "$tag" --clobber "$folder"/*
        else
            gh release create "$tag" --verify-tag --title "${tag#v}" --notes-file "$folder/notes.md" "$folder"/*
        fi
        ;;
    download)
        gh release download "$tag" --dir "$folder"
        ;;
    add-rollback)
        gh release upload "$tag" --clobber "$folder"/rollback-*
        ;;
    *)
        echo "$usage" >&2
        exit 2
        ;;
esac
