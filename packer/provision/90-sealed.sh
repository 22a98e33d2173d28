#!/bin/sh
# The last look before the image is closed; all findings at once. Only here can be seen what a
# boot makes anew.
set -eu
cd /

findings=0
finding() {
    findings=$((findings + 1))
    echo "## found: $*"
}

echo "## looking for what must not be in an image"
if [ ! -e /etc/machine-id ] || [ -s /etc/machine-id ]; then
    finding "/etc/machine-id is not empty: all nodes would be taken for one"
fi
for file in $(find /etc/ssh -name 'ssh_host_*' -type f); do
    finding "$file is an ssh host key: all nodes would have the same"
done
for folder in /var/lib/one/.one /var/lib/one/.ssh /root/.ssh; do
    if [ -d "$folder" ] && [ -n "$(ls -A "$folder")" ]; then
        finding "$folder is not empty: $(ls -A "$folder" | tr '\n' ' ')"
    fi
done
for file in /home/*/.ssh/authorized_keys; do
    if [ -s "$file" ]; then
        finding "$file lets somebody in to every node"
    fi
done
for file in $(find / -xdev \( -path /proc -o -path /sys -o -path /usr -o -path /var/lib/dpkg \) \
    -prune -o -type f -name '*_auth' -print); do
    finding "$file looks like credentials"
done
for file in $(grep -rlsE -e '^-----BEGIN [A-Z ]*PRIVATE KEY' \
    /etc /home /opt /root /srv /var/lib/one || true); do
    finding "$file holds a private key"
done
for file in $(grep -rlsi -e onebaton -e opennebula /etc/apt || true); do
    finding "$file still names the package repository"
done
if [ -e /opt/onebaton-bake ]; then
    finding "/opt/onebaton-bake is left of the bake"
fi

[ "$findings" -eq 0 ]
