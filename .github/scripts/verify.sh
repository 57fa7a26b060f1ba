#!/usr/bin/env bash
# Verify a release: verify.sh [--offline] FOLDER PUBLIC_KEY
# 1. every file of FOLDER is signed by PUBLIC_KEY and no other key
# 2. each registry's manifest has the digest that image-digests.txt says
# 3. SBOM, provenance and record, where they are there, are about this image and no other release's
# 4. each registry serves that manifest, byte for byte, under the version's tag (not with --offline)
set -euo pipefail

usage='usage: verify.sh [--offline] FOLDER PUBLIC_KEY'
offline=
if [[ ${1:-} == --offline ]]; then
    offline=yes
    shift
fi
folder=${1:?$usage}
key=${2:?$usage}
required=(image-digests.txt ghcr-manifest.json dh-manifest.json do-manifest.json)
bad=0

complain() {
    echo "NOT VERIFIED: $*" >&2
    bad=1
}

GNUPGHOME=$(mktemp -d /tmp/verify.XXXXXX)
export GNUPGHOME
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
"$(dirname "$0")/gpg-key.sh" "$key" | gpg --batch --quiet --import || { echo "$key is no GPG public key" >&2; exit 2; }

# gpg's exit code also accepts keys that have expired; only its status GOODSIG does not.
signed() {
    local said
    said=$(gpg --batch --status-fd 1 --verify "$1.asc" "$1" 2>"$GNUPGHOME/said") || return 1
    [[ $said == *"[GNUPG:] GOODSIG "* ]]
}

for name in "${required[@]}"; do
    [[ -f $folder/$name ]] || complain "$folder/$name is missing"
done
for file in "$folder"/*; do
    [[ -f $file && $file != *.asc ]] || continue
    if [[ ! -f $file.asc ]]; then
        complain "$file has no signature $file.asc"
    elif ! signed "$file"; then
        complain "$file is not what the owner of $key signed"
    fi
done
((bad == 0)) || exit 1

names='' versions=''
while read -r name image; do
    names+="$name "
    [[ $image =~ ^([^@]+)@(sha256:[0-9a-f]{64})$ ]] || { complain "'$name $image' is no line of digests"; continue; }
    tagged=${BASH_REMATCH[1]} digest=${BASH_REMATCH[2]}
    versions+="${tagged##*:} "
    manifest=$folder/$name-manifest.json
    if [[ sha256:$(sha256sum <"$manifest" | cut -d' ' -f1) != "$digest" ]]; then
        complain "$manifest has not the digest $digest"
        continue
    fi
    for about in sbom.cdx.json provenance.json release-record.json; do
        [[ ! -f $folder/$about ]] || grep -q "${digest#sha256:}" "$folder/$about" \
            || complain "$folder/$about is not about $digest"
    done
    if [[ -z $offline ]]; then
        plain=()
        [[ $tagged =~ ^(127\.0\.0\.1|localhost): ]] && plain=(--tls-verify=false)
        skopeo inspect --raw "${plain[@]}" "docker://$tagged" >"$GNUPGHOME/served" \
            || { complain "$tagged cannot be read"; continue; }
        cmp -s "$GNUPGHOME/served" "$manifest" || complain "$tagged is not the image that was released"
    fi
done <"$folder/image-digests.txt"
[[ $names == 'ghcr dh do ' ]] || complain "image-digests.txt names '${names% }', not 'ghcr dh do'"
version=${versions%% *}
[[ $versions == "$version $version $version " ]] || complain "the images are not of one version: $versions"
((bad == 0)) || exit 1

echo "verified: $version in $folder${offline:+ (without asking the registries)}"
