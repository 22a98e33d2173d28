#!/usr/bin/env bash
# Fetches the plan that was reviewed: reviewed-plan.sh JOB
#
# That is the artefact of JOB for the head of the merge request that was merged as
# CI_COMMIT_SHA. Prints the merge request's number and leaves plan.json; refuses (status 4) where
# nobody reviewed a plan.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=api.sh
. "$(dirname "$0")/api.sh"

job=$1
refuse() {
  printf 'refused: %s\n' "$1" >&2
  printf 'Open a merge request: its plan, once it is merged, is what runs.\n' >&2
  exit 4
}

rm -f plan.json plan.commit
merged=''
for attempt in 1 2 3 4 5 6; do
  found=$(api GET "projects/$CI_PROJECT_ID/repository/commits/$CI_COMMIT_SHA/merge_requests") || {
    printf 'GitLab does not tell merge requests to this token: set ONEBATON_GITLAB_TOKEN\n' >&2
    exit 69
  }
  merged=$(jq --raw-output --arg sha "$CI_COMMIT_SHA" --arg branch "$CI_COMMIT_BRANCH" \
    'first(.[] | select(.state == "merged" and .target_branch == $branch
       and (.merge_commit_sha == $sha or .squash_commit_sha == $sha or .sha == $sha)))
     | "\(.iid) \(.sha)"' <<< "$found")
  if [ -n "$merged" ] || [ "$attempt" = 6 ]; then
    break
  fi
  printf 'waiting for the merge request that was merged as %s to be listed\n' "$CI_COMMIT_SHA" >&2
  sleep "${ONEBATON_POLL_S:-5}"
done
if [ -z "$merged" ]; then
  refuse "no merge request was merged as $CI_COMMIT_SHA"
fi
number=${merged% *} head=${merged#* }

# A pipeline of the merged result has a ref of its own.
for ref in merge head; do
  from="projects/$CI_PROJECT_ID/jobs/artifacts/refs%2Fmerge-requests%2F$number%2F$ref/raw"
  if api GET "$from/plan.commit?job=$job" --output plan.commit 2> /dev/null &&
    [ "$(cat plan.commit)" = "$head" ] &&
    api GET "$from/plan.json?job=$job" --output plan.json; then
    rm -f plan.commit
    printf 'the plan of merge request %s, head %s\n' "$number" "$head" >&2
    printf '%s\n' "$number"
    exit 0
  fi
  rm -f plan.commit plan.json
done
refuse "merge request $number has no plan for its head $head, or it has expired"
