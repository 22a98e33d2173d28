"""What an image must show when it is booted once: questions to the machine, and the judgement.

The scripts only report; what is right is decided here, so that all failures are seen at once.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from onebaton.errors import StepFailedError
from onebaton.model import Recipe, Schema
from onebaton.ports import TrialNode

UNIT = "opennebula.service"
LOOK_TIMEOUT_S = 60.0
#: `oned` needs about 5 s to start (measured note).
START_TIMEOUT_S = 180.0
SHOWN_LINES = 15

_FACT = "onebaton-fact "

#: Reports facts of the booted machine, a line each: ``onebaton-fact KEY VALUE``; keys may
#: come again. systemd's private socket is as old as the boot: a host key that is not newer
#: was in the image, and so was a key that lets root in (a trial over ssh gives one).
LOOK = rf"""
fact() {{ printf '{_FACT}%s %s\n' "$1" "$2"; }}
fact unit-load "$(systemctl show --property=LoadState --value {UNIT})"
fact unit-active "$(systemctl show --property=ActiveState --value {UNIT})"
fact unit-enabled "$(systemctl is-enabled {UNIT} 2>&1)"
for unit in ssh mariadb; do
    fact "active-$unit" "$(systemctl is-active "$unit.service")"
    fact "enabled-$unit" "$(systemctl is-enabled "$unit.service" 2>&1)"
done
for unit in onebaton-first-boot onebaton-host-keys; do
    fact "enabled-$unit" "$(systemctl is-enabled "$unit.service" 2>&1)"
    fact "result-$unit" "$(systemctl show --property=Result --value "$unit.service")"
done
# The variable has another name from MariaDB 11.1 on.
fact isolation "$(mariadb --skip-column-names --batch --execute "SHOW GLOBAL VARIABLES
    WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')" 2>&1 |
    head -n 1 | cut -f 2)"
fact root-login "$(sshd -T 2>&1 | sed -n 's/^permitrootlogin //p')"
fact password-login "$(sshd -T 2>&1 | sed -n 's/^passwordauthentication //p')"
for program in oned onedb; do
    fact "program-$program" "$(command -v "$program")"
done
dpkg-query --show --showformat='${{db:Status-Abbrev}} ${{Package}} ${{Version}}\n' |
    while read -r status package version; do
        case $status-$package in
            ii-*) fact package "$package $version" ;;
        esac
    done
fact machine-id "$(cat /etc/machine-id)"
find /etc/ssh -name 'ssh_host_*_key' -type f | while read -r file; do
    fact host-key "$file"
done
find /etc/ssh -name 'ssh_host_*_key' -type f ! -newercc /run/systemd/private |
    while read -r file; do fact old-host-key "$file"; done
for folder in /var/lib/one/.one /var/lib/one/.ssh /root/.ssh; do
    if [ -d "$folder" ]; then
        find "$folder" -mindepth 1 ! \( -path /root/.ssh/authorized_keys \
            -newercc /run/systemd/private \) | while read -r file; do fact left "$file"; done
    fi
done
find / -xdev \( -path /proc -o -path /sys -o -path /usr -o -path /var/lib/dpkg \) -prune \
    -o -type f -name '*_auth' -print | while read -r file; do fact credentials "$file"; done
grep -rlsi -e opennebula -e onebaton /etc/apt | while read -r file; do fact source "$file"; done
fact looked yes
"""

#: Starts `oned` once, alone, on a database of its own, and asks `onedb` what it requires.
#: `onedb version` needs a database that `oned` has bootstrapped; that it starts is worth
#: knowing anyway. Secrets are made up on the machine and go with it.
START = rf"""
set -eu
umask 077
secret() {{ od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }}
password=$(secret)
mariadb <<SQL
CREATE DATABASE onebaton_trial;
CREATE USER 'onebaton_trial'@'localhost' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON onebaton_trial.* TO 'onebaton_trial'@'localhost';
SQL
perl -0pi -e 's/^DB\s*=\s*\[[^\]]*\]//mg' /etc/one/oned.conf
cat >>/etc/one/oned.conf <<CONF
DB = [ BACKEND = "mysql",
       SERVER  = "localhost",
       PORT    = 0,
       USER    = "onebaton_trial",
       PASSWD  = "$password",
       DB_NAME = "onebaton_trial" ]
CONF
install -d -o oneadmin -g oneadmin -m 0700 /var/lib/one/.one
printf 'oneadmin:%s\n' "$(secret)" >/var/lib/one/.one/one_auth
chown oneadmin:oneadmin /var/lib/one/.one/one_auth
# The unit's ssh agent wants a key; nodes get their zone's.
install -d -o oneadmin -g oneadmin -m 0700 /var/lib/one/.ssh
cd /
runuser -u oneadmin -- ssh-keygen -q -t ed25519 -N '' -f /var/lib/one/.ssh/id_ed25519
if ! timeout 120 systemctl start {UNIT}; then
    echo "{UNIT} does not start:"
    systemctl status --no-pager --lines=5 {UNIT} || true
    tail -n 10 /var/log/one/oned.log || true
    exit 1
fi
printf '{_FACT}started %s\n' "$(systemctl is-active {UNIT})"
# Its status says how the database stands, not whether it could tell.
timeout 30 runuser -u oneadmin -- env HOME=/var/lib/one onedb version || true
"""

#: What `onedb version` prints (recorded answers).
_REQUIRED = re.compile(r"^Required (shared|local) version:\s*(\S+)\s*$", re.MULTILINE)

Facts = Mapping[str, Sequence[str]]


class TrialFailedError(StepFailedError):
    """An image does not show what it must."""


def run_trial(node: TrialNode, recipe: Recipe) -> Schema:
    """Look at a booted image, then start its ``oned``.

    :returns: the schema its ``oned`` requires.
    :raises TrialFailedError: naming everything that is wrong.
    """
    status, output = node.run(LOOK, timeout_s=LOOK_TIMEOUT_S)
    facts = read_facts(output)
    if facts.get("looked") != ["yes"]:
        raise _failed([f"the look at it broke off with status {status}", *_tail(output)])
    problems = judge(facts, recipe)
    status, output = node.run(START, timeout_s=START_TIMEOUT_S)
    schema = required_schema(output)
    if status != 0:
        problems += [f"oned does not start (status {status})", *_tail(output)]
    elif schema is None:
        problems += ["onedb version does not tell the required schema", *_tail(output)]
    if problems or schema is None:
        raise _failed(problems)
    return schema


def read_facts(output: str) -> dict[str, list[str]]:
    """Facts by key, in the order in which they were reported."""
    facts: dict[str, list[str]] = defaultdict(list)
    for line in output.splitlines():
        if line.startswith(_FACT):
            key, _, value = line.removeprefix(_FACT).partition(" ")
            facts[key].append(value.strip())
    return dict(facts)


def required_schema(output: str) -> Schema | None:
    """What ``onedb version`` requires, ``None`` if it does not say both."""
    required = dict(_REQUIRED.findall(output))
    if not {"shared", "local"} <= required.keys():
        return None
    return Schema(required["shared"], required["local"])


def judge(facts: Facts, recipe: Recipe) -> list[str]:
    """Everything that is wrong with a booted image; empty if nothing is."""
    return [
        *_unit_problems(facts),
        *_service_problems(facts),
        *_package_problems(facts, recipe),
        *_secret_problems(facts),
    ]


def _unit_problems(facts: Facts) -> list[str]:
    problems = []
    if (load := _one(facts, "unit-load")) != "loaded":
        problems.append(f"{UNIT} is not there (systemd says {load or 'nothing'})")
    if (active := _one(facts, "unit-active")) != "inactive":
        problems.append(f"{UNIT} is {active or 'in no known state'}; it must not start by itself")
    if (enabled := _one(facts, "unit-enabled")) != "disabled":
        problems.append(f"{UNIT} is {enabled or 'in no known state'}, not disabled")
    problems += [
        f"the program {program} is not in PATH"
        for program in ("oned", "onedb")
        if not _one(facts, f"program-{program}")
    ]
    return problems


def _service_problems(facts: Facts) -> list[str]:
    wanted = {
        "active-ssh": "active",
        "enabled-ssh": "enabled",
        "active-mariadb": "active",
        "enabled-mariadb": "enabled",
        "enabled-onebaton-first-boot": "enabled",
        "result-onebaton-first-boot": "success",
        "enabled-onebaton-host-keys": "enabled",
        "result-onebaton-host-keys": "success",
        "isolation": "READ-COMMITTED",
        "password-login": "no",
    }
    words = {
        "isolation": "MariaDB's transaction isolation",
        "password-login": "sshd's PasswordAuthentication",
    }
    problems = []
    for key, right in wanted.items():
        seen = _one(facts, key)
        if seen != right:
            kind, _, unit = key.partition("-")
            what = words.get(key, f"{unit}.service ({kind})")
            problems.append(f"{what} is {seen or 'unknown'}, not {right}")
    # `prohibit-password` is shown by its older name.
    if (login := _one(facts, "root-login")) not in ("prohibit-password", "without-password"):
        problems.append(f"sshd's PermitRootLogin is {login or 'unknown'}, not prohibit-password")
    return problems


def _package_problems(facts: Facts, recipe: Recipe) -> list[str]:
    installed = dict(entry.split(" ", 1) for entry in facts.get("package", ()) if " " in entry)
    problems = []
    for name, version in recipe.packages:
        seen = installed.get(name)
        if seen != version:
            problems.append(f"the package {name} is {seen or 'not installed'}, not {version}")
    return problems


def _secret_problems(facts: Facts) -> list[str]:
    problems = [
        f"{file} is in the image: {why}"
        for key, why in (
            ("left", "a node's own secrets never are"),
            ("credentials", "it looks like credentials"),
            ("old-host-key", "all nodes would have the same ssh host key"),
            ("source", "it names the package repository of the bake"),
        )
        for file in facts.get(key, ())
    ]
    if not facts.get("host-key"):
        problems.append("no ssh host key was made at boot")
    if not re.fullmatch(r"[0-9a-f]{32}", _one(facts, "machine-id")):
        problems.append("no machine-id was made at boot")
    return problems


def _one(facts: Facts, key: str) -> str:
    values = facts.get(key, ())
    return values[0] if len(values) == 1 else ""


def _tail(output: str) -> list[str]:
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith(_FACT)]
    return lines[-SHOWN_LINES:]


def _failed(problems: Sequence[str]) -> TrialFailedError:
    return TrialFailedError(
        "the image was booted and is not fit for a node",
        details=problems,
        resolution="Correct the packages or `image.scripts`, then bake again; the image was "
        "removed.",
    )
