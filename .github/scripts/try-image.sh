#!/usr/bin/env bash
# Run an image as operators do, hardened, in a simulated market until its pool is full: try-image.sh IMAGE VERSION
# The engine is ENGINE, docker or podman. Nothing is published, and nothing left behind.
set -euo pipefail

image=${1:?usage: try-image.sh IMAGE VERSION}
version=${2:?usage: try-image.sh IMAGE VERSION}
engine=${ENGINE:-docker}
target=2
tries=90 # seconds, and what the questions take
name=magister-try-$$
hard=(--read-only --cap-drop=all --security-opt=no-new-privileges)

end() { # one after the other: the market's network is there until nobody uses it
    for each in "$name" "$name-market"; do
        "$engine" rm --force --volumes "$each" >/dev/null 2>&1 || true
    done
}
trap end EXIT
refuse() {
    echo "$image: $1" >&2
    "$engine" logs "$name" 2>&1 | tail -n 20 >&2 || true
    exit 1
}

said=$("$engine" run --rm "${hard[@]}" "$image" --version)
[[ $said == "magister $version" ]] || refuse "it is to be magister $version and calls itself $said"

# the simulator answers on loopback only, so the two have one network
"$engine" run --detach --name "$name-market" "${hard[@]}" "$image" \
    simulate --rate-scale 0 --dud-share 0 --boot-secs 0.1 0.2 >/dev/null
"$engine" run --detach --name "$name" --network "container:$name-market" "${hard[@]}" \
    --env VAST_API_URL=http://127.0.0.1:8556 --env VAST_API_KEY=simulated-key \
    --env VAST_TEMPLATE_HASH=4e17788f74f075dd9aab7d0d4427968f --env VAST_QUERY_COST_PER_HOUR=1 \
    --env THIS_MAGISTER_ADDR=http://127.0.0.1 --env HIEROPHANT_IP=127.0.0.1 --env HIEROPHANT_HTTP_PORT=8557 \
    --env CONTEMPLANT_VMS=sp1 --env NUMBER_INSTANCES="$target" --env TASK_POLLING_INTERVAL_SECS=2 \
    "$image" >/dev/null

full="import json, urllib.request
states = json.load(urllib.request.urlopen('http://127.0.0.1:8555/summary', timeout=5))['states']
raise SystemExit(states.get('verified') != $target)"
for ((left = tries; left > 0; left--)); do
    ! "$engine" exec "$name" python -c "$full" 2>/dev/null || break
    sleep 1
done
((left > 0)) || refuse "its pool was not full in $tries tries"
"$engine" exec "$name" magister health >/dev/null || refuse "it does not find itself well"
! "$engine" exec "$name" touch /opt/magister/x 2>/dev/null || refuse "it can write where it should not"
"$engine" stop --time 15 "$name" >/dev/null
code=$("$engine" inspect --format '{{.State.ExitCode}}' "$name")
[[ $code == 0 ]] || refuse "SIGTERM ended it with exit code $code"
echo "$image: its pool was full, and SIGTERM ended it in good order"
