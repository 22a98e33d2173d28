#!/usr/bin/env bash
# Runs a command that changes the zone, and tells how it went: rollout.sh COMMAND [ARGUMENT…]
#
# report.md is the comment, report.html the whole report if the run came so far as to have one.
# A rollout that waits for an approval (status 3) has not failed.
#
# ONEBATON_ZONE  name of the zone; the comment is found again by it
# RUN_URL        where this run of the pipeline is looked at
set -euo pipefail

rm -f report.md report.html report.json before.json rollout.log
newest() { onebaton report last --format json --out "$1" > /dev/null 2>&1 || rm -f "$1"; }

newest before.json
set +e
onebaton "$@" 2>&1 | tee rollout.log
status=${PIPESTATUS[0]}
set -e
newest report.json

case $status in
  0) outcome="came to its end" ;;
  3) outcome="waits for an approval: \`onebaton continue\`" ;;
  4) outcome="was refused; nothing more was changed" ;;
  *) outcome="failed (status $status)" ;;
esac
{
  printf '<!-- onebaton-report zone=%s -->\n' "$ONEBATON_ZONE"
  # shellcheck disable=SC2016 # those are Markdown's
  printf '### `onebaton %s` on zone %s %s\n\n' "$1" "$ONEBATON_ZONE" "$outcome"
  printf '[The whole run, with its report](%s)\n\n' "$RUN_URL"
} > report.md
# What refused before its first step has no report: the newest one is of another run.
if [ -e report.json ] && ! cmp -s before.json report.json; then
  onebaton report last --format html --out report.html > /dev/null
  onebaton report last --format md --out report.body.md > /dev/null
  head -c 55000 report.body.md >> report.md
  rm -f report.body.md
else
  printf '~~~~text\n%s\n~~~~\n' "$(tail -c 20000 rollout.log)" >> report.md
fi
rm -f before.json
if [ "$status" -eq 3 ]; then
  status=0
fi
exit "$status"
