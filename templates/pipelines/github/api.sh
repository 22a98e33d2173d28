# shellcheck shell=bash
# Calls GitHub's API: api METHOD PATH [curl's arguments…]. To be sourced.
#
# GITHUB_TOKEN never stands in an argument, where every process of the machine could read it.
api() {
  local method=$1 path=$2 retry=(--retry 3)
  shift 2
  # A comment that was posted twice is worse than none.
  if [ "$method" = POST ]; then
    retry=()
  fi
  curl --silent --show-error --fail-with-body --location --max-time 60 "${retry[@]}" \
    --config <(printf 'header = "Authorization: Bearer %s"\n' "$GITHUB_TOKEN") \
    --header 'Accept: application/vnd.github+json' \
    --header 'X-GitHub-Api-Version: 2022-11-28' \
    --request "$method" "$@" "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/$path"
}
