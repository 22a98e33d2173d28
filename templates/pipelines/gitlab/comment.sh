#!/usr/bin/env bash
# Comments on a merge request, or updates the comment of before: comment.sh NUMBER MARKER FILE
#
# The comment is found by its marker, among those of the token's own user. The job's token may
# not comment: without ONEBATON_GITLAB_TOKEN there is none, and the plan is a link in the merge
# request (artifacts:expose_as).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=api.sh
. "$(dirname "$0")/api.sh"

number=$1 marker=$2 file=$3
if [ -z "${ONEBATON_GITLAB_TOKEN:-}" ]; then
  echo "no comment: ONEBATON_GITLAB_TOKEN is not set"
  exit 0
fi
notes="projects/$CI_PROJECT_ID/merge_requests/$number/notes"
body=$(mktemp)
trap 'rm -f "$body"' EXIT
jq --raw-input --slurp '{body: .}' "$file" > "$body"
author=$(api GET user | jq --raw-output .username)

id='' page=1
while [ -z "$id" ]; do
  comments=$(api GET "$notes?per_page=100&page=$page")
  id=$(jq --raw-output --arg marker "$marker" --arg author "$author" \
    '[.[] | select(.author.username == $author and (.body | contains($marker)))][0].id // empty' \
    <<< "$comments")
  if [ "$(jq length <<< "$comments")" -lt 100 ]; then
    break
  fi
  page=$((page + 1))
done
if [ -n "$id" ]; then
  api PUT "$notes/$id" --header 'Content-Type: application/json' --data-binary "@$body" |
    jq --raw-output '"updated note \(.id)"'
else
  api POST "$notes" --header 'Content-Type: application/json' --data-binary "@$body" |
    jq --raw-output '"wrote note \(.id)"'
fi
