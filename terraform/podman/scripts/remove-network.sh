#!/bin/sh
# Removes the cluster's network; no error if there is none.
set -eu

podman=${PODMAN:-podman}

"$podman" network exists "$NETWORK" || exit 0
owner=$("$podman" network inspect --format '{{ index .Labels "onebaton.cluster" }}' "$NETWORK")
if [ "$owner" != "$CLUSTER" ]; then
    echo "the podman network $NETWORK is not this cluster's: left alone"
    exit 0
fi
"$podman" network rm "$NETWORK"
