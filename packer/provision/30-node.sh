#!/bin/sh
# Files and units of a node.
set -eu
bake=/opt/onebaton-bake

echo "## files and units"
cd "$bake/files"
find . -type f | while read -r file; do
    mode=0644
    case $file in ./usr/local/lib/onebaton/*) mode=0755 ;; esac
    install -D -o root -g root -m "$mode" "$file" "/${file#./}"
done
cd /

systemctl enable onebaton-host-keys.service onebaton-first-boot.service
systemctl enable ssh.service mariadb.service
# A node gets its server id, secrets and database first; then its oned is started.
systemctl disable opennebula.service
# The vip hook starts these on the leader, but only where they are enabled; none starts before
# the node has its zone's secrets (AssertFileNotEmpty= in their units).
for package in $ONEBATON_PACKAGES; do
    case ${package%%=*} in
        opennebula-flow | opennebula-gate | opennebula-fireedge | opennebula-sunstone)
            systemctl enable "${package%%=*}.service" ;;
    esac
done
# Nodes are replaced and never upgraded in place.
systemctl disable apt-daily.timer apt-daily-upgrade.timer
