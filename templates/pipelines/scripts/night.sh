#!/usr/bin/env bash
# Examines the zone and looks for drift; night.md tells both. Changes nothing.
#
# Ends with the doctor's status if something stands in the way, else with that of the drift.
set -euo pipefail

worst=0
: > night.md
for command in doctor drift; do
  status=0
  onebaton "$command" --plain > night.log 2>&1 || status=$?
  cat night.log
  {
    printf '### onebaton %s (status %d)\n\n' "$command" "$status"
    printf '~~~~text\n%s\n~~~~\n\n' "$(tail -c 100000 night.log)"
  } >> night.md
  if [ "$worst" -eq 0 ]; then
    worst=$status
  fi
done
rm -f night.log
exit "$worst"
