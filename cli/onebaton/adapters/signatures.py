"""Signatures of plans: Ed25519 (RFC 8032), keys as PEM files, through ``cryptography``.

``openssl genpkey -algorithm ed25519 -out plan.key`` makes a private key, ``openssl pkey -in
plan.key -pubout -out plan.pub`` its public half.
"""

import base64
import binascii
import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from onebaton.errors import ConfigError
from onebaton.model import Secret

#: What is signed begins with this: a signature of something else never fits a plan.
CONTEXT = b"onebaton plan 1\n"


def sign(body: bytes, key: Secret) -> tuple[str, str]:
    """Sign a plan.

    :param key: the private key, PEM (PKCS #8), not encrypted.
    :returns: fingerprint of the key's public half, and the signature in base64.
    :raises ConfigError: if the key is none.
    """
    try:
        private = load_pem_private_key(key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Whatever the library says of it is about a secret.
        raise _no_key("the private key of --sign-key") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise _no_key("the private key of --sign-key")
    signature = private.sign(CONTEXT + body)
    return fingerprint(private.public_key()), base64.b64encode(signature).decode()


def public_keys(files: tuple[Path, ...]) -> dict[str, Ed25519PublicKey]:
    """Public keys by their fingerprints.

    :raises ConfigError: if one of the files holds none.
    """
    found = {}
    for file in files:
        try:
            key = load_pem_public_key(file.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm):
            raise _no_key(f"plans.public_keys: {file}") from None
        if not isinstance(key, Ed25519PublicKey):
            raise _no_key(f"plans.public_keys: {file}")
        found[fingerprint(key)] = key
    return found


def fits(body: bytes, signature: str, key: Ed25519PublicKey) -> bool:
    """The signature is of this plan by this key.

    :param signature: in base64.
    """
    try:
        decoded = base64.b64decode(signature, validate=True)
        # The last sign has bits to spare: one signature has one spelling.
        if base64.b64encode(decoded).decode() != signature:
            return False
        key.verify(decoded, CONTEXT + body)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def fingerprint(key: Ed25519PublicKey) -> str:
    """``ed25519:…``, the first half of the SHA-256 over the 32 bytes of a public key."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"ed25519:{hashlib.sha256(raw).hexdigest()[:32]}"


def _no_key(what: str) -> ConfigError:
    return ConfigError(
        f"{what} is no Ed25519 key in PEM, or it is encrypted",
        resolution="Make one: openssl genpkey -algorithm ed25519 -out plan.key; its public half: "
        "openssl pkey -in plan.key -pubout -out plan.pub",
    )
