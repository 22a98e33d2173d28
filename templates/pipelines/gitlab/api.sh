# shellcheck shell=bash
# Calls GitLab's API: api METHOD PATH [curl's arguments…]. To be sourced.
#
# With ONEBATON_GITLAB_TOKEN if there is one, else with the job's own token, which may do less.
# Neither stands in an argument, where every process of the machine could read it.
api() {
  local method=$1 path=$2 header retry=(--retry 3)
  shift 2
  if [ -n "${ONEBATON_GITLAB_TOKEN:-}" ]; then
    header="PRIVATE-TOKEN: $ONEBATON_GITLAB_TOKEN"
  else
    header="JOB-TOKEN: $CI_JOB_TOKEN"
  fi
  # A comment that was posted twice is worse than none.
  if [ "$method" = POST ]; then
    retry=()
  fi
  curl --silent --show-error --fail-with-body --location --max-time 60 "${retry[@]}" \
    --config <(printf 'header = "%s"\n' "$header") \
    --request "$method" "$@" "$CI_API_V4_URL/$path"
}
