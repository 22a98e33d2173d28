"""The file of a plan: the plan, a digest over it, and signatures beside it.

.. code-block:: json

    {"format": 1, "plan": {}, "digest": "sha256:…",
     "signatures": [{"key": "ed25519:…", "signature": "…"}]}

Digest and signatures are over ``plan`` as canonical JSON, so that they do not depend on how the
file is laid out.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from onebaton.adapters import signatures
from onebaton.errors import RefusedError, UnreadableError, UsageError
from onebaton.model import Secret
from onebaton.plan.artefact import ARTEFACT, FORMAT, Artefact, canonical, digest_of, plain

#: A plan of nine servers takes about 40 kB.
LARGEST_BYTES = 16 * 1024 * 1024
_KEYS = {"format", "plan", "digest", "signatures"}


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan as it was read; its digest was seen to be right.

    :param body: what signatures are over.
    :param signatures: of the file, by the fingerprints of their keys; not looked at yet.
    """

    artefact: Artefact
    digest: str
    body: bytes
    signatures: tuple[tuple[str, str], ...]

    def require_trusted(self, keys: tuple[Path, ...], *, required: bool) -> str | None:
        """See that the plan may be trusted.

        :param keys: files of the public keys of those who review plans.
        :param required: a plan without a signature is refused.
        :returns: fingerprint of the key that signed it; ``None`` if it was not signed, or there
            are no keys to tell.
        :raises RefusedError: if it is not signed and has to be, or no signature is right.
        """
        known = signatures.public_keys(keys)
        if not self.signatures or not known:
            if required:
                raise RefusedError(
                    "the plan is unsigned, and plans.require_signature is set",
                    resolution="Make it anew and sign it: onebaton plan --out FILE --sign-key KEY",
                )
            return None
        for name, signature in self.signatures:
            if name in known and signatures.fits(self.body, signature, known[name]):
                return name
        names = ", ".join(name for name, _ in self.signatures)
        raise RefusedError(
            "the plan's signature is wrong",
            details=[f"signed by {names}; plans.public_keys are {', '.join(known)}"],
            resolution="Take only a plan from who may sign it. Make a new one, and sign it with a "
            "key whose public half is in plans.public_keys.",
        )


def write(path: Path, artefact: Artefact, key: Secret | None) -> str:
    """Write the file, whole or not at all.

    :param key: private key to sign it with.
    :returns: the plan's digest.
    :raises UsageError: if it cannot be written.
    """
    body = canonical(plain(artefact))
    signed = [signatures.sign(body, key)] if key is not None else []
    digest = digest_of(plain(artefact))
    data = {
        "format": FORMAT,
        "plan": plain(artefact),
        "digest": digest,
        "signatures": [{"key": name, "signature": text} for name, text in signed],
    }
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    return digest


def write_text(path: Path, text: str) -> None:
    """Write a file for others to read, whole or not at all.

    :raises UsageError: if it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=".onebaton-", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            # Not the owner's alone, as a temporary file is: it holds no secret.
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", resolution="Name another file."
        ) from None


def read(path: Path) -> PlanFile:
    """Read a file, and see that its digest is over what stands there.

    :raises UnreadableError: if it is no plan, or one of another format.
    :raises RefusedError: if the plan is not what the digest is over.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, f"{error.strerror}") from None
    if len(content) > LARGEST_BYTES:
        raise _unreadable(path, f"it is larger than {LARGEST_BYTES} bytes")
    try:
        data = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _unreadable(path, "this is not JSON") from None
    if not isinstance(data, dict) or set(data) != _KEYS:
        raise _unreadable(path, f"a plan holds {', '.join(sorted(_KEYS))}, and nothing else")
    if data["format"] != FORMAT:
        raise _unreadable(path, f"another format; this version reads {FORMAT}")
    try:
        body = canonical(data["plan"])
    except (ValueError, RecursionError):
        raise _unreadable(path, "it holds what JSON has no word for") from None
    digest = digest_of(data["plan"])
    if data["digest"] != digest:
        raise RefusedError(
            f"the plan in {path} was tampered with: its digest is not over what stands there",
            details=[f"the file says {data['digest']}", f"it holds {digest}"],
            resolution="Take the file as `onebaton plan` wrote it, or make a new plan.",
        )
    try:
        artefact = ARTEFACT.validate_json(body)
    except ValidationError as error:
        raise _unreadable(
            path,
            *(
                f"{'.'.join(map(str, problem['loc'])) or 'plan'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)[:10]
            ),
        ) from None
    return PlanFile(artefact, digest, body, _signatures(path, data["signatures"]))


def _signatures(path: Path, data: object) -> tuple[tuple[str, str], ...]:
    found = []
    for one in data if isinstance(data, list) else [None]:
        if not isinstance(one, Mapping) or set(one) != {"key", "signature"}:
            raise _unreadable(path, "signatures: each has a key and a signature")
        found.append((str(one["key"]), str(one["signature"])))
    return tuple(found)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object in which no key stands twice: two readers might take another one each."""
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _unreadable(path: Path, *details: str) -> UnreadableError:
    return UnreadableError(
        f"the plan {path} cannot be read",
        details=details,
        resolution="Name a file that `onebaton plan --out` wrote, with this version of onebaton.",
    )
