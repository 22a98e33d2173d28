#!/bin/sh
# The virtual IP of the zone's leader.
#
#   vip.sh leader|follower INTERFACE ADDRESS/PREFIX [INTERFACE ADDRESS/PREFIX ...]
#
# Does what the hook of the same name does: the leader takes the address, then
# announces it five times two seconds long, and only then starts the services
# beside oned; the follower gives it back.
set -u

action=${1:-}
case $action in
leader | follower) shift ;;
*)
    echo "vip.sh: leader or follower, not '$action'" >&2
    exit 1
    ;;
esac

locks=/var/lock/one
[ -n "${ONE_LOCATION:-}" ] && locks=$ONE_LOCATION/var/lock
exec 9>"$locks/vip_sh"
flock -w 60 9

announce() {
    # Beside the pause, so that a round takes two seconds with any arping.
    sudo -n arping -c 1 "$3" -I "$1" "${2%%/*}" &
    sleep 1
    wait
}

take() {
    sudo -n ip address add "$2" dev "$1"
    round=0
    while [ "$round" -lt 5 ]; do
        announce "$1" "$2" -U
        announce "$1" "$2" -A
        round=$((round + 1))
    done
}

give_back() {
    if ip address show dev "$1" | grep -q " ${2%%/*}/"; then
        sudo -n ip address del "$2" dev "$1"
    fi
}

while [ $# -ge 2 ]; do
    if [ "$action" = leader ]; then
        take "$1" "$2"
    else
        give_back "$1" "$2"
    fi
    shift 2
done
if [ $# -ne 0 ]; then
    echo "vip.sh: an interface without an address" >&2
    exit 1
fi

command -v systemctl >/dev/null && [ -d /run/systemd/system ] || exit 0
for service in opennebula-flow opennebula-gate opennebula-hem; do
    systemctl is-enabled "$service" >/dev/null 2>&1 || continue
    if [ "$action" = leader ]; then
        sudo -n systemctl start "$service"
    else
        sudo -n systemctl stop "$service"
    fi
done
exit 0
