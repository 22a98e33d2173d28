#!/bin/sh
# OpenNebula's packages, all of exactly one version.
# ONEBATON_PACKAGES: e.g. "opennebula=6.10.0-1 opennebula-flow=6.10.0-1".
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
bake=/opt/onebaton-bake

echo "## OpenNebula packages: $ONEBATON_PACKAGES"
install -D -m 0644 "$bake/apt/onebaton.sources" /etc/apt/sources.list.d/onebaton.sources
install -D -m 0644 "$bake/apt/onebaton.pref" /etc/apt/preferences.d/onebaton.pref
if [ -e "$bake/apt/auth.conf" ]; then
    install -D -m 0600 "$bake/apt/auth.conf" /etc/apt/auth.conf.d/onebaton.conf
fi
for key in "$bake"/apt/onebaton.asc "$bake"/apt/onebaton.gpg; do
    if [ -e "$key" ]; then
        install -D -m 0644 "$key" "/etc/apt/keyrings/${key##*/}"
    fi
done
# apt reads it as a user of its own.
chmod -R a+rX "$bake"
if [ -e "$bake/apt/auth.conf" ]; then
    chmod 0600 "$bake/apt/auth.conf"
fi

# Debian's own lists are fresh already.
apt-get update -q -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/onebaton.sources \
    -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0
# With what they recommend, as the vendor's own installation does it.
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y -o Dpkg::Options::=--force-confold $ONEBATON_PACKAGES
