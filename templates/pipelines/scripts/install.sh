#!/usr/bin/env bash
# Installs onebaton into a folder of its own: install.sh FOLDER
#
# ONEBATON_REQUIREMENT is what pip is asked for; "installed": the runner has it on its PATH.
set -euo pipefail

if [ "$ONEBATON_REQUIREMENT" != installed ]; then
  python3 -m venv "$1"
  "$1/bin/pip" install --quiet --disable-pip-version-check "$ONEBATON_REQUIREMENT"
  PATH="$1/bin:$PATH"
fi
onebaton version
