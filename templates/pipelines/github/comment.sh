#!/usr/bin/env bash
# Comments on a pull request, or updates the comment of before: comment.sh NUMBER MARKER FILE
#
# The comment is found by its marker, among those that the workflows' own token wrote: whoever
# else writes the marker is not listened to.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=api.sh
. "$(dirname "$0")/api.sh"

pull=$1 marker=$2 file=$3
author=${ONEBATON_COMMENT_AUTHOR:-github-actions[bot]}
body=$(mktemp)
trap 'rm -f "$body"' EXIT
jq --raw-input --slurp '{body: .}' "$file" > "$body"

id='' page=1
while [ -z "$id" ]; do
  comments=$(api GET "issues/$pull/comments?per_page=100&page=$page")
  id=$(jq --raw-output --arg marker "$marker" --arg author "$author" \
    '[.[] | select(.user.login == $author and (.body | contains($marker)))][0].id // empty' \
    <<< "$comments")
  if [ "$(jq length <<< "$comments")" -lt 100 ]; then
    break
  fi
  page=$((page + 1))
done
if [ -n "$id" ]; then
  api PATCH "issues/comments/$id" --data-binary "@$body" | jq --raw-output '"updated \(.html_url)"'
else
  api POST "issues/$pull/comments" --data-binary "@$body" | jq --raw-output '"wrote \(.html_url)"'
fi
