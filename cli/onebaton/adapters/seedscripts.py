"""The scripts that seed in parts: one cuts and sends, the others fetch, compare and load.

Both read the key first. Then they speak to this machine on their standard output, a line each,
and are told on their standard input which request to make: ``curl`` is given it by its own
standard input, so that neither key nor link is in any argument.
"""

from onebaton.adapters import seeding
from onebaton.adapters.seeding import CUT_SHORT, DAMAGED, NOT_PASSED, Looked

#: ``&3`` speaks to this machine and ``&4`` listens to it.
_CHANNELS = """
IFS= read -r key
exec 3>&1 4<&0 </dev/null >&2"""
#: One request as this machine words it, up to an empty line; nothing if it is gone.
_ERRAND_FUNCTION = """
errand() {
  local line
  while IFS= read -r line <&4 && [ -n "$line" ]; do printf '%s\n' "$line"; done
}"""
#: Without a ``.curlrc``; less than 1 KiB/s for a minute is no transfer any more.
_CURL = (
    "curl --disable --config - --globoff --silent --show-error --fail --connect-timeout 15 "
    "--speed-limit 1024 --speed-time 60 --retry 4 --retry-connrefused"
)
#: Counter mode needs no padding, and ``-pbkdf2`` salts each seed anew. The key is read from a
#: descriptor, because arguments can be seen by everybody on the node.
_OPENSSL = "openssl enc {way} -aes-256-ctr -pbkdf2 -pass fd:5 5< <(printf '%s\n' \"$key\")"
_SEND_FUNCTION = f"""
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
send() {{
  local number=0 size sum request code
  while :; do
    head -c "$1" > "$work/part"
    size=$(stat -c %s "$work/part")
    [ "$size" -gt 0 ] || break
    number=$((number + 1))
    sum=$(sha256sum < "$work/part")
    printf 'part %s %s %s\\n' "$number" "$size" "${{sum%% *}}" >&3
    request=$(errand)
    [ -n "$request" ] || exit {CUT_SHORT}
    code=$(printf '%s\\n' "$request" | {_CURL} --upload-file "$work/part" --output /dev/null \
      --write-out '%{{http_code}}') || exit {NOT_PASSED}
    case "$code" in
      2??) ;;
      *) echo "curl: the answer has HTTP status $code" >&2; exit {NOT_PASSED};;
    esac
    printf 'sent %s\\n' "$number" >&3
  done
}}"""
#: All parts as one stream; curl's status 63 is that of an object larger than the one sent.
_RECEIVE_FUNCTION = f"""
give_up() {{ echo "$1" > "$work/why"; exit 1; }}
receive() {{
  local number size sum request got failed
  while read -r number size sum <&4; do
    [ "$number" != end ] || return 0
    request=$(errand)
    failed=0
    printf '%s\\n' "$request" | {_CURL} --max-filesize "$size" --output "$work/part" || failed=$?
    [ "$failed" != 63 ] || give_up {DAMAGED}
    [ "$failed" = 0 ] || give_up {NOT_PASSED}
    got=$(sha256sum < "$work/part")
    [ "${{got%% *}}" = "$sum" ] || give_up {DAMAGED}
    cat "$work/part"
    printf 'taken %s\\n' "$number" >&3
  done
  give_up {CUT_SHORT}
}}"""


def dump_script(database: str, packer: str, part_bytes: int) -> str:
    """Shell: dump, pack, encrypt, cut, send."""
    return (
        f"{_CHANNELS}{_ERRAND_FUNCTION}{_SEND_FUNCTION}\n"
        f"{seeding.dump_command(database, packer)} | {_OPENSSL.format(way='-e')} | "
        f"send {part_bytes}"
    )


def load_script(database: str, looked: Looked, source: str) -> str:
    """Shell: fetch, compare, decrypt, unpack, load.

    :param source: the node's name.
    """
    return seeding.load_script(
        database,
        looked,
        source,
        before=f"{_CHANNELS}{_ERRAND_FUNCTION}{_RECEIVE_FUNCTION}",
        take=f"receive | {_OPENSSL.format(way='-d')} | {seeding.unpack_command(looked.packer)}",
    )
