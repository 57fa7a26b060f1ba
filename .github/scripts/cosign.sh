#!/usr/bin/env bash
# Sign the pushed images with cosign, without a key, by the identity of the GitHub workflow: cosign.sh FOLDER
# Attaches SBOM and provenance as attestations, and verifies what it signed as an operator would.
set -euo pipefail

folder=${1:?usage: cosign.sh FOLDER}
: "${GITHUB_SERVER_URL:?set by GitHub}" "${GITHUB_WORKFLOW_REF:?set by GitHub}"
issuer=https://token.actions.githubusercontent.com
identity=$GITHUB_SERVER_URL/$GITHUB_WORKFLOW_REF

predicate=$(mktemp)
trap 'rm -f "$predicate"' EXIT
jq .predicate "$folder/provenance.json" >"$predicate"

while read -r _ tagged; do
    image=${tagged%:*@*}@${tagged#*@}
    cosign sign --yes "$image"
    cosign attest --yes --type cyclonedx --predicate "$folder/sbom.cdx.json" "$image"
    cosign attest --yes --type slsaprovenance1 --predicate "$predicate" "$image"
    cosign verify --certificate-oidc-issuer "$issuer" --certificate-identity "$identity" "$image" >/dev/null
    echo "signed and verified by cosign: $image"
done <"$folder/image-digests.txt"
