#!/bin/sh
# Takes out what belongs to one machine only, and what was needed for the bake only.
set -eu

echo "## cleaning"
rm -rf /opt/onebaton-bake
rm -f /etc/apt/sources.list.d/onebaton.sources /etc/apt/preferences.d/onebaton.pref \
    /etc/apt/auth.conf.d/onebaton.conf \
    /etc/apt/keyrings/onebaton.asc /etc/apt/keyrings/onebaton.gpg \
    /etc/apt/apt.conf.d/99onebaton-bake /usr/sbin/policy-rc.d
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old

# The packages make up secrets of their own; a node gets its zone's.
for folder in /var/lib/one/.one /var/lib/one/.ssh /root/.ssh; do
    if [ -d "$folder" ]; then
        find "$folder" -mindepth 1 -delete
    fi
done
rm -f /etc/ssh/ssh_host_*
rm -f /root/.bash_history /var/lib/one/.bash_history

# Empty, not removed: each node makes its own, and systemd does not take the boot for a very
# first one, at which it would enable units by preset.
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id

find /var/log -type f -delete
find /tmp /var/tmp -mindepth 1 ! -path "$0" -delete
