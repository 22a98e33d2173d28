#!/usr/bin/env bash
# A pipeline on this machine: what happens to a pull request of a cluster's configuration.
#
#   pull_request.sh opened BRANCH    plans what the branch says, and comments on it
#   pull_request.sh merged BRANCH    merges it, and carries out the plan of its last commit
#
# FORGE     folder of comments (FORGE/comments/*.md) and artefacts (FORGE/artefacts/COMMIT/)
# ONEBATON  the program
# Works in the git repository of the working folder; main is what is merged.
set -euo pipefail
event=$1 branch=$2

# Writes a comment anew where one with its first line, the marker, is there already.
comment() {
    local file=$1 marker there
    marker=$(head -n 1 "$file")
    mkdir -p "$FORGE/comments"
    there=$(grep -lxF -- "$marker" "$FORGE"/comments/*.md 2>/dev/null | head -n 1 || true)
    [ -n "$there" ] || there="$FORGE/comments/$(find "$FORGE/comments" -name '*.md' | wc -l).md"
    cp "$file" "$there"
}

case $event in
    opened)
        git switch --quiet "$branch"
        artefacts=$FORGE/artefacts/$(git rev-parse HEAD)
        mkdir -p "$artefacts"
        status=0
        "$ONEBATON" plan --plain --out "$artefacts/plan.json" --markdown "$artefacts/plan.md" \
            --sign-key env:SIGN_KEY || status=$?
        comment "$artefacts/plan.md"
        [ "$status" -eq 0 ] || [ "$status" -eq 3 ]
        ;;
    merged)
        # What was reviewed is the plan of the branch's last commit, and no other.
        artefacts=$FORGE/artefacts/$(git rev-parse "$branch")
        git switch --quiet main
        git merge --quiet --no-ff --message "Merge $branch" "$branch"
        status=0
        "$ONEBATON" rollout --plain --plan "$artefacts/plan.json" \
            >"$artefacts/rollout.txt" 2>&1 || status=$?
        {
            echo '<!-- onebaton-rollout -->'
            echo "### The rollout of \`$branch\` ended with status $status"
            echo
            sed 's/^/    /' "$artefacts/rollout.txt"
        } >"$artefacts/rollout.md"
        comment "$artefacts/rollout.md"
        exit "$status"
        ;;
esac
