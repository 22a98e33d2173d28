#!/bin/sh
# The source AMI's own first boot must be over: it works on apt's files too.
set -eu

echo "## waiting for the source AMI's first boot"
if command -v cloud-init >/dev/null; then
    timeout 300 cloud-init status --wait || true
fi
