"""The file of a plan: whole, unchanged, signed; or refused with one message."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tests.fakes.planning import planned

from onebaton.adapters import planfile
from onebaton.adapters.signatures import sign
from onebaton.errors import ConfigError, RefusedError, UnreadableError, UsageError
from onebaton.model import Secret
from onebaton.plan.artefact import Artefact, canonical, digest_of, plain


class Reviewer:
    """Somebody with a key."""

    def __init__(self, folder: Path, name: str) -> None:
        self._key = Ed25519PrivateKey.generate()
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.secret = Secret(pem.decode())
        self.public = folder / f"{name}.pub"
        self.public.write_bytes(
            self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )

    def encrypted(self) -> Secret:
        """The key behind a passphrase."""
        scheme = BestAvailableEncryption(b"word")
        return Secret(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, scheme).decode())


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    return planned()[1]


@pytest.fixture
def reviewer(tmp_path: Path) -> Reviewer:
    return Reviewer(tmp_path, "reviewer")


def test_what_was_written_is_read(tmp_path, artefact):
    path = tmp_path / "plan.json"
    digest = planfile.write(path, artefact, None)
    found = planfile.read(path)
    assert found.artefact == artefact
    assert found.digest == digest == json.loads(path.read_text())["digest"]
    assert found.require_trusted((), required=False) is None
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]


def test_the_layout_does_not_count(tmp_path, artefact, reviewer):
    path = tmp_path / "plan.json"
    planfile.write(path, artefact, reviewer.secret)
    data = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(data.items()))))
    signer = planfile.read(path).require_trusted((reviewer.public,), required=True)
    assert signer is not None
    assert signer.startswith("ed25519:")


def test_any_flipped_byte_is_found(tmp_path, artefact, reviewer):
    """Every third byte of a small plan, one bit of it: refused, or unreadable, never taken."""
    small = replace(artefact, steps=artefact.steps[:1], settings={"zone.name": "1"})
    path = tmp_path / "plan.json"
    planfile.write(path, small, reviewer.secret)
    content = path.read_bytes()
    tampered = unreadable = 0
    for place in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place % 7)
        path.write_bytes(flipped)
        try:
            planfile.read(path).require_trusted((reviewer.public,), required=True)
        except RefusedError:
            tampered += 1
        except UnreadableError:
            unreadable += 1
        else:
            pytest.fail(f"byte {place} was flipped, and the plan was taken")
    assert tampered > 300
    assert unreadable > 200


def test_a_plan_with_another_digest_in_its_place_needs_another_signature(
    tmp_path, artefact, reviewer
):
    path = tmp_path / "plan.json"
    planfile.write(path, artefact, reviewer.secret)
    data = json.loads(path.read_text())
    data["plan"]["start"]["leader"] = "z-a3"
    data["digest"] = digest_of(data["plan"])
    path.write_text(json.dumps(data))
    found = planfile.read(path)
    with pytest.raises(RefusedError, match="signature is wrong"):
        found.require_trusted((reviewer.public,), required=False)


def test_unsigned_or_by_somebody_else(tmp_path, artefact, reviewer):
    path, other = tmp_path / "plan.json", Reviewer(tmp_path, "other")
    planfile.write(path, artefact, None)
    with pytest.raises(RefusedError, match="unsigned"):
        planfile.read(path).require_trusted((reviewer.public,), required=True)
    assert planfile.read(path).require_trusted((reviewer.public,), required=False) is None
    planfile.write(path, artefact, other.secret)
    with pytest.raises(RefusedError, match="signature is wrong"):
        planfile.read(path).require_trusted((reviewer.public,), required=True)
    both = (reviewer.public, other.public)
    assert planfile.read(path).require_trusted(both, required=True) is not None


def test_a_signature_is_not_taken_for_that_of_another_key(tmp_path, artefact, reviewer):
    """The name of a trusted key beside a signature of another one."""
    path, other = tmp_path / "plan.json", Reviewer(tmp_path, "other")
    planfile.write(path, artefact, other.secret)
    data = json.loads(path.read_text())
    data["signatures"][0]["key"] = sign(canonical(plain(artefact)), reviewer.secret)[0]
    path.write_text(json.dumps(data))
    with pytest.raises(RefusedError, match="signature is wrong"):
        planfile.read(path).require_trusted((reviewer.public,), required=True)


def test_keys_that_are_none(tmp_path, artefact, reviewer):
    path = tmp_path / "plan.json"
    for secret in (Secret("hunter2"), reviewer.encrypted(), Secret(reviewer.public.read_text())):
        with pytest.raises(ConfigError, match="no Ed25519 key") as error:
            planfile.write(path, artefact, secret)
        assert "hunter2" not in f"{error.value.message}{error.value.details}"
        assert error.value.__cause__ is None
    planfile.write(path, artefact, reviewer.secret)
    no_key = tmp_path / "no.pub"
    no_key.write_text("none")
    with pytest.raises(ConfigError, match=r"plans\.public_keys"):
        planfile.read(path).require_trusted((no_key,), required=True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.pop("digest"), "a plan holds"),
        (lambda d: d.update(more=1), "a plan holds"),
        (lambda d: d.update(format=2), "another format"),
        (lambda d: d.update(signatures=[{"key": "k"}]), "signatures"),
        (lambda d: d.update(signatures="none"), "signatures"),
        (lambda d: d["plan"].pop("zone"), "zone"),
        (lambda d: d["plan"].update(secret="x"), "secret"),
        (lambda d: d["plan"].update(created_at="now"), "created_at"),
    ],
)
def test_what_cannot_be_read(tmp_path, artefact, change, text):
    path = tmp_path / "plan.json"
    planfile.write(path, artefact, None)
    data = json.loads(path.read_text())
    change(data)
    if "digest" in data:
        data["digest"] = digest_of(data["plan"])
    path.write_text(json.dumps(data))
    with pytest.raises(UnreadableError) as error:
        planfile.read(path)
    assert text in "".join(error.value.details)
    assert str(path) in error.value.message


def test_what_is_no_json(tmp_path, artefact):
    path = tmp_path / "plan.json"
    planfile.write(path, artefact, None)
    whole = path.read_text()
    texts = (whole[:-20], whole + "x", "[" * 100_000, '{"format": 1, "format": 1}')
    for text in texts:
        path.write_text(text)
        with pytest.raises(UnreadableError):
            planfile.read(path)
    path.write_text(whole.replace("1000.0", "NaN"))
    with pytest.raises(UnreadableError):
        planfile.read(path)
    with pytest.raises(UnreadableError, match="cannot be read"):
        planfile.read(tmp_path / "none.json")


def test_a_place_that_cannot_be_written(tmp_path, artefact):
    with pytest.raises(UsageError, match="cannot be written"):
        planfile.write(tmp_path / "none" / "plan.json", artefact, None)
