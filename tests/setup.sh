#!/usr/bin/env bash
# Installs what the Makefile's targets need, by name, and says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | grep -q '^install ok' || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
        say "these Debian packages are missing: ${missing[*]}"
        say "install them (as root, on Debian 12), then run the same command again"
        exit 69
    fi
    say "installing Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

python() {
    local interpreter=$1 venv=$2
    "$interpreter" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        say "Python 3.11 or newer is needed; $("$interpreter" --version) was found"
        exit 69
    }
    [ -x "$venv/bin/python" ] || "$interpreter" -m venv "$venv"
    say "installing Python packages into $venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 \
        --editable '.[dev]'
}

# Terraform is in none of the registries used here: it has to be on the machine.
programs() {
    command -v terraform >/dev/null && return 0
    say "Terraform >= 1.5 is missing, and no Debian package holds it"
    say "put the vendor's 'terraform' program on PATH, then run the same command again"
    exit 69
}

clean() {
    local config
    [ -x .venv/bin/onebaton ] || return 0
    for config in .cache/*/cluster.yaml; do
        [ -e "$config" ] || continue
        .venv/bin/onebaton destroy --yes --config "$config"
    done
}

"$@"
