#!/bin/sh
# Takes out what cloud-init and Packer left of the machine the image was made on.
set -eu

echo "## cleaning what is of AWS"
cloud-init clean --logs
# The bake's own way in.
for home in /root /home/*; do
    rm -f "$home/.ssh/authorized_keys"
done
# Packer goes on by the connection it has; a node makes keys of its own.
rm -f /etc/ssh/ssh_host_*
