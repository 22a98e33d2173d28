#!/bin/sh
# Debian's part of a node. Finds most of it there when the base was made from the same list.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
bake=/opt/onebaton-bake

echo "## Debian packages"
# What is installed must not start: a database that ran during the bake would leave its traces
# in every node.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d

cat >/etc/apt/apt.conf.d/99onebaton-bake <<'APT'
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
DPkg::Lock::Timeout "60";
APT
apt-get update -q
sed 's/#.*//' "$bake/packages.list" |
    xargs apt-get install -q -y --no-install-recommends
