#!/usr/bin/env bash
# Plans the rollout: plan.json is what may run, plan.md the comment on it.
#
# ONEBATON_ZONE    name of the zone; the comment is found again by it
# ONEBATON_SIGN_KEY  if set: the key that signs the plan, a file or env:NAME
set -euo pipefail

rm -f plan.json plan.md plan.log
arguments=(--out plan.json --markdown plan.md)
if [ -n "${ONEBATON_SIGN_KEY:-}" ]; then
  arguments+=(--sign-key "$ONEBATON_SIGN_KEY")
fi
status=0
onebaton plan --plain "${arguments[@]}" > plan.log 2>&1 || status=$?
cat plan.log
case $status in
  # 3: there is something to do.
  0 | 3) exit 0 ;;
esac
rm -f plan.json
# A refusal writes its own comment; what failed before it could is told here.
if [ -s plan.md ]; then
  exit "$status"
fi
{
  printf '<!-- onebaton-plan zone=%s -->\n' "$ONEBATON_ZONE"
  printf '### There is no plan for zone %s (status %d)\n\n' "$ONEBATON_ZONE" "$status"
  printf '~~~~text\n%s\n~~~~\n' "$(tail -c 50000 plan.log)"
} > plan.md
exit "$status"
