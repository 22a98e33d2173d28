"""The shell of a clone's node: its own secrets.

Everything runs as root under bash with ``set -euo pipefail`` and may be repeated.
"""

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
