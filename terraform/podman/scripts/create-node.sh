#!/bin/sh
# Boots one node. May be run again after any interruption: what an earlier run left of this
# node goes first, and what this run began goes when it fails.
set -eu

podman=${PODMAN:-podman}

if "$podman" container exists "$NODE"; then
    owner=$("$podman" container inspect \
        --format '{{ index .Config.Labels "onebaton.cluster" }}' "$NODE")
    if [ "$owner" != "$CLUSTER" ]; then
        echo "a container named $NODE exists and is not this cluster's" >&2
        exit 1
    fi
    "$podman" rm --force --volumes --time 0 "$NODE" >/dev/null
fi

# A name can move on to other content; the digest says which content is meant. It is either
# the image's id or its manifest's digest.
found=$("$podman" image inspect --format '{{ .Id }} {{ .Digest }}' "$IMAGE")
case " sha256:$found " in
    *" $IMAGE_DIGEST "*) ;;
    *)
        echo "the image $IMAGE is not $IMAGE_DIGEST but sha256:$found" >&2
        exit 1
        ;;
esac

files=$(mktemp -d)
made=
finish() {
    status=$?
    rm -rf "$files"
    if [ "$status" -ne 0 ] && [ -n "$made" ]; then
        "$podman" rm --force --volumes --time 0 "$made" >/dev/null || true
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# A clone steps back behind everything else on this machine: production may be there as well.
shares=
if [ -n "${GATEWAY:-}" ]; then
    shares=--cpu-shares=64
fi

memory=
if [ "${MEMORY_MIB:-0}" -gt 0 ]; then
    memory="--memory=${MEMORY_MIB}m"
fi

# NET_ADMIN and NET_RAW are for the hook that takes the virtual address and announces it.
# shellcheck disable=SC2086 # no argument at all without a limit
made=$("$podman" create --pull never --name "$NODE" --hostname "$NODE" \
    --network "$NETWORK" --ip "$ADDRESS" \
    --systemd always --cap-add NET_ADMIN,NET_RAW --restart no $memory $shares \
    --label "onebaton.cluster=$CLUSTER" \
    --label "onebaton.node=$NODE" \
    --label "onebaton.instance=$INSTANCE" \
    --label "onebaton.address=$ADDRESS" \
    --label "onebaton.generation=$GENERATION" \
    --label "onebaton.image=$IMAGE" \
    --label "onebaton.image-digest=$IMAGE_DIGEST" \
    "$IMAGE" /sbin/init)

# Copied and not mounted: the node depends on no folder of this machine.
umask 022
mkdir "$files/onebaton"
printf 'NODE_NAME=%s\n' "$NODE" >"$files/onebaton/first-boot.env"
printf '%s\n' "$AUTHORIZED_KEYS" >"$files/onebaton/authorized_keys"
"$podman" cp "$files/onebaton" "$made:/etc/"

"$podman" start "$made" >/dev/null

# The bridge of an internal network may have no address: this machine takes the gateway's, so that
# it reaches the nodes. They have no route that would lead through it; and were one to be made
# there, this machine would pass nothing on.
if [ -n "${GATEWAY:-}" ]; then
    bridge=$("$podman" network inspect --format '{{ .NetworkInterface }}' "$NETWORK")
    echo 0 2>/dev/null >"/proc/sys/net/ipv4/conf/$bridge/forwarding" || true
    has_address() {
        [ -n "$(ip -4 -o address show dev "$bridge" to "${GATEWAY%/*}/32")" ]
    }
    # Another node may be made at the same time.
    has_address || ip address add "$GATEWAY" dev "$bridge" 2>/dev/null || has_address
fi

echo "container $made"
