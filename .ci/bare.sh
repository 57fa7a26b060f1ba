#!/usr/bin/env bash
# Try what README promises a newcomer, in a Debian that has Python and make and nothing else: bare.sh FOLDER
# The Debian is made in FOLDER, unless it is there already. Needs root, debootstrap and the network.
set -euo pipefail

folder=${1:?usage: bare.sh FOLDER}
source=$(cd "$(dirname "$0")/.." && pwd)
release=trixie
[[ $(id -u) = 0 ]] || { echo "bare.sh: only root can do it" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "bare.sh: there is no debootstrap: apt install debootstrap" >&2; exit 2; }

mkdir -p "$folder"
root=$(cd "$folder" && pwd)/bare
if [[ ! -e $root/made ]]; then
    rm -rf "$root"
    debootstrap --variant=minbase --include=make,python3,python3-venv "$release" "$root" http://deb.debian.org/debian
    touch "$root/made"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"
[[ -z ${PIP_CERT:-} ]] || cp "$PIP_CERT" "$root/trusted.crt"

# the source as an archive has it: without what was made in it, and without .git
rm -rf "$root/source"
mkdir "$root/source"
(cd "$source" && git ls-files -z | tar --create --null --files-from=-) | tar --extract --directory="$root/source"

inside() { # a shell in there, with an environment of its own
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        ${PIP_CERT:+PIP_CERT=/trusted.crt} ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} \
        unshare --mount --pid --fork chroot "$root" bash -euc "
            mount -t proc proc /proc
            cd /source
            $1"
}
tried() { # say how long it took
    local begun=$SECONDS
    inside "$1"
    echo "| \`$1\` | $((SECONDS - begun)) s |" >>"$folder/bare.md"
}

printf '| in a bare Debian %s | |\n|---|---|\n' "$release" >"$folder/bare.md"
tried 'make demo ARGS=--once'
tried 'make build'
tried 'out/magister --version'
inside '! command -v git gcc curl' # else it was not bare
