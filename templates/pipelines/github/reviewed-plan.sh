#!/usr/bin/env bash
# Fetches the plan that was reviewed: reviewed-plan.sh WORKFLOW ARTEFACT
#
# That is the artefact of the head of the pull request that was merged as GITHUB_SHA. Prints
# pull=NUMBER and leaves plan.json; refuses (status 4) where nobody reviewed a plan.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=api.sh
. "$(dirname "$0")/api.sh"

workflow=$1 artefact=$2
refuse() {
  printf 'refused: %s\n' "$1" >&2
  printf 'Open a pull request: its plan, once it is merged, is what runs.\n' >&2
  exit 4
}

rm -f plan.json
merged=''
for attempt in 1 2 3 4 5 6; do
  merged=$(api GET "commits/$GITHUB_SHA/pulls?per_page=100" |
    jq --raw-output --arg sha "$GITHUB_SHA" --arg base "$GITHUB_REF_NAME" \
      'first(.[] | select(.merged_at != null and .merge_commit_sha == $sha and .base.ref == $base))
       | "\(.number) \(.head.sha)"')
  if [ -n "$merged" ] || [ "$attempt" = 6 ]; then
    break
  fi
  printf 'waiting for the pull request that was merged as %s to be listed\n' "$GITHUB_SHA" >&2
  sleep "${ONEBATON_POLL_S:-5}"
done
if [ -z "$merged" ]; then
  refuse "no pull request was merged as $GITHUB_SHA"
fi
pull=${merged% *} head=${merged#* }

# The newest run counts: a plan that was made anew replaces those before it.
run=$(api GET "actions/workflows/$workflow/runs?event=pull_request&head_sha=$head&per_page=100" |
  jq --raw-output --arg repository "$GITHUB_REPOSITORY" --arg head "$head" \
    '[.workflow_runs[] | select(.head_sha == $head and .event == "pull_request"
       and .head_repository.full_name == $repository)]
     | sort_by(.run_number) | last | select(. != null) | "\(.id) \(.conclusion)"')
if [ -z "$run" ]; then
  refuse "pull request $pull was merged, and $workflow never ran for its head $head"
fi
if [ "${run#* }" != success ]; then
  refuse "the newest run of $workflow for the head $head of pull request $pull: ${run#* }"
fi
run=${run% *}
id=$(api GET "actions/runs/$run/artifacts?name=$artefact&per_page=100" |
  jq --raw-output --arg name "$artefact" \
    '[.artifacts[] | select(.name == $name and (.expired | not))] | sort_by(.created_at)
     | last | select(. != null) | .id')
if [ -z "$id" ]; then
  refuse "run $run of pull request $pull has no artefact $artefact, or it has expired"
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
api GET "actions/artifacts/$id/zip" --output "$folder/artefact.zip"
python3 -m zipfile --extract "$folder/artefact.zip" "$folder"
if [ ! -f "$folder/plan.json" ]; then
  refuse "the artefact $artefact of run $run holds no plan.json"
fi
mv "$folder/plan.json" plan.json
printf 'the plan of pull request %s, head %s, run %s\n' "$pull" "$head" "$run" >&2
printf 'pull=%s\n' "$pull"
