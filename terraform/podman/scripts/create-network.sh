#!/bin/sh
# Makes the cluster's network. One of ours with the right subnet is kept: it may hold nodes
# whose records were lost.
set -eu

podman=${PODMAN:-podman}

if "$podman" network exists "$NETWORK"; then
    owner=$("$podman" network inspect \
        --format '{{ index .Labels "onebaton.cluster" }}' "$NETWORK")
    if [ "$owner" != "$CLUSTER" ]; then
        echo "the podman network $NETWORK exists and is not this cluster's" >&2
        exit 1
    fi
    subnet=$("$podman" network inspect \
        --format '{{ range .Subnets }}{{ .Subnet }}{{ end }}' "$NETWORK")
    internal=$("$podman" network inspect --format '{{ .Internal }}' "$NETWORK")
    if [ "$subnet" = "$SUBNET" ] && [ "$internal" = "${INTERNAL:-false}" ]; then
        echo "network $NETWORK is there"
        exit 0
    fi
    "$podman" network rm "$NETWORK"
fi

# Without podman's own name server: nodes use this machine's resolv.conf.
internal=
if [ "${INTERNAL:-false}" = true ]; then
    internal=--internal
fi
# shellcheck disable=SC2086 # no argument at all without it
"$podman" network create --disable-dns $internal --subnet "$SUBNET" --gateway "$GATEWAY" \
    --label "onebaton.cluster=$CLUSTER" "$NETWORK"
