#!/bin/sh
# Removes one instance of a node with its volumes; no error if it is gone already.
set -eu

podman=${PODMAN:-podman}

"$podman" ps --all --quiet --no-trunc --filter "label=onebaton.instance=$INSTANCE" |
    while read -r container; do
        "$podman" rm --force --volumes --time 0 "$container"
    done
