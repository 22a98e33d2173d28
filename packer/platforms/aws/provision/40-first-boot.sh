#!/bin/sh
# What a node of AWS does at its boots besides.
set -eu

echo "## first boot on AWS"
systemctl enable onebaton-data-disk.service
rm -f /etc/cloud/cloud-init.disabled
