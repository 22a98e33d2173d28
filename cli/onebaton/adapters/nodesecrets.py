"""A zone's secrets on their way from node to node: through memory, onto no disk of ours.

``/var/lib/one/.one`` holds what servers call each other with, ``/var/lib/one/.ssh`` the way
to the hypervisors; both are lost with a node and belong into no image.
"""

import os
from collections.abc import Sequence

from onebaton.adapters.nodefacts import DIGEST_FUNCTION
from onebaton.adapters.ssh import Ssh
from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import Host, Secret

#: More than this is no set of secrets; it would be held in memory.
LIMIT_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 60.0
#: What a target held before, for whoever looks for it.
ASIDE = "/var/lib/one/.onebaton-aside"

_PACK = """
cd /var/lib/one
[ -s .one/one_auth ] || { echo "there is no /var/lib/one/.one/one_auth" >&2; exit 1; }
folders=.one; [ ! -d .ssh ] || folders=".one .ssh"
tar -c -f - $folders"""

#: The new content is complete and readable by nobody else before it takes the old one's place.
_UNPACK = f"""
{DIGEST_FUNCTION}
umask 077
cd /var/lib/one
rm -rf .onebaton-new
mkdir .onebaton-new
tar -x --no-same-owner -f - -C .onebaton-new
[ -s .onebaton-new/.one/one_auth ]
chown -R -h oneadmin:oneadmin .onebaton-new
find .onebaton-new -type d -exec chmod 0700 {{}} +
find .onebaton-new -type f -exec chmod 0600 {{}} +
rm -rf {ASIDE}
mkdir {ASIDE}
for folder in .one .ssh; do
  [ -d ".onebaton-new/$folder" ] || continue
  [ ! -e "$folder" ] || mv "$folder" {ASIDE}/
  mv ".onebaton-new/$folder" "$folder"
done
rmdir .onebaton-new
secret_digest"""

#: The packages make oneadmin a key and a configuration for the way to the hypervisors; no image
#: holds them, so that a new zone needs its own (a seeded node gets its source's). The drivers
#: cannot answer whether a hypervisor's key is right: that stands in the configuration.
_WRITE_AUTH = """
umask 077
cd /var/lib/one
install -d -m 0700 -o oneadmin -g oneadmin .one .ssh
cat > .one/.one_auth.new
chown oneadmin:oneadmin .one/.one_auth.new
mv -f .one/.one_auth.new .one/one_auth
cd .ssh
if [ -z "$(find . -maxdepth 1 -name 'id_*' -print -quit)" ]; then
  rm -f .new .new.pub
  ssh-keygen -q -t rsa -b 3072 -N '' -C oneadmin -f .new
  cat .new.pub >> authorized_keys
  mv .new.pub id_rsa.pub
  mv .new id_rsa
fi
[ -e config ] || [ ! -e /usr/share/one/ssh/config ] || cp /usr/share/one/ssh/config config
chown -R -h oneadmin:oneadmin ."""


def copy(ssh: Ssh, source: Host, targets: Sequence[Host]) -> None:
    """Give the targets the source's secrets, and see that they arrived.

    :raises StepFailedError: if a target's digest differs afterwards.
    """
    packed = _pack(ssh, source)
    digest = ssh.run(
        source, f"{DIGEST_FUNCTION}\nsecret_digest", timeout_s=TIMEOUT_S, what="reading a digest"
    ).stdout.strip()
    for target in targets:
        done = ssh.run(
            target, _UNPACK, stdin=packed, timeout_s=TIMEOUT_S, what="putting secrets in place"
        )
        if done.stdout.strip() != digest:
            raise StepFailedError(
                f"the secrets of {target.name} are not those of {source.name} after copying",
                details=["SHA-256 over /var/lib/one/.one differs"],
                resolution="Run the same command again; if it stays, something writes there.",
            )


def write_auth(ssh: Ssh, host: Host, user: str, password: Secret) -> None:
    """Write ``one_auth`` for a new zone's first start, and give oneadmin an ssh key.

    :raises RefusedError: if the password cannot stand in that file.
    """
    if "\n" in password.reveal() or not password.reveal():
        raise RefusedError(
            "the password of a new zone's oneadmin is empty or has several lines",
            resolution="Give zone.credentials.password another source or value.",
        )
    text = f"{user}:{password.reveal()}\n"
    ssh.run(host, _WRITE_AUTH, stdin=text, timeout_s=TIMEOUT_S, what="writing one_auth")


def _pack(ssh: Ssh, source: Host) -> bytes:
    # A pipe: unlike that of a run, its output never gets into a message.
    parts: list[bytes] = []
    what = f"reading the secrets of {source.name}"
    with ssh.pipe(source, _PACK, stdin=False, timeout_s=TIMEOUT_S) as pipe:
        while part := os.read(pipe.stdout.fileno(), 1 << 20):
            parts.append(part)
            if sum(map(len, parts)) > LIMIT_BYTES:
                raise StepFailedError(
                    f"{what}: more than {LIMIT_BYTES >> 20} MiB",
                    resolution="Take out of /var/lib/one/.one and .ssh what is no secret.",
                )
        pipe.finish(timeout_s=TIMEOUT_S, what=what)
    return b"".join(parts)
