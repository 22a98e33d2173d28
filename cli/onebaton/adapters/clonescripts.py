"""The shell of a clone's node: its own secrets, and knocking at production.

Everything runs as root under bash with ``set -euo pipefail`` and may be repeated.
"""

#: Seconds that one place is given to answer.
KNOCK_S = 2
#: So many are tried at the same time.
AT_ONCE = 64

#: Nothing of an earlier attempt, or of somebody's image, stays.
FORGET_SECRETS = """
cd /var/lib/one
rm -rf .one .ssh .onebaton-new .onebaton-aside"""

#: Writes what services log in with: a name and a line for each file, from standard input.
WRITE_SERVICE_AUTH = """
umask 077
cd /var/lib/one/.one
while read -r name content; do
  printf '%s\\n' "$content" > "$name.new"
  chown oneadmin:oneadmin "$name.new"
  mv -f "$name.new" "$name"
done"""

#: Prints each file that holds what opens something, as name and content in base64; it is read
#: through a pipe, whose output gets into no message.
READ_SECRETS = """
cd /var/lib/one
for folder in .one .ssh; do
  [ -d "$folder" ] || continue
  find "$folder" -type f -size -64k | sort | while IFS= read -r name; do
    echo "$(base64 -w 0 <<< "$name") $(base64 -w 0 "$name")"
  done
done"""

#: Prints the places that answer, of those on standard input, ``address port`` a line. A refusal
#: is an answer: its packet came back. What is dropped on the way, or has no way, says nothing.
KNOCK = f"""
knock() {{
  local said
  if said=$(timeout {KNOCK_S} bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1); then
    echo "$1 $2"
  else
    case "$said" in *refused*|*reset*) echo "$1 $2";; esac
  fi
}}
count=0
while read -r address port; do
  knock "$address" "$port" </dev/null &
  count=$((count + 1))
  if [ $((count % {AT_ONCE})) = 0 ]; then wait; fi
done
wait"""
