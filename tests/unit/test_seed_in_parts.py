"""Seeds in parts: what the machines are told, and how many threads follow one shipment."""

import shlex
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from onebaton.adapters import seeding, seedscripts
from onebaton.adapters.passing import Errand
from onebaton.adapters.process import Completed, ProgramError
from onebaton.adapters.s3seeds import S3Passage
from onebaton.adapters.seeding import Looked
from onebaton.adapters.seedparts import Part, Shipment
from onebaton.config import S3Config
from onebaton.model import Secret

LOOKED = Looked("utf8mb4", "utf8mb4_general_ci", {"n1": (), "n2": ()})
PARTS = [Part(number, 1024, f"{number:064x}") for number in (1, 2, 3)]


@pytest.fixture
def keys(monkeypatch, tmp_path):
    """Keys that open nothing: a link is signed without a word to anybody."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAONLYFORTESTS0000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-only-for-tests")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


def test_curl_is_told_of_a_request_in_its_own_words():
    errand = Errand(Secret("https://s3.example.org/a?b=%22"), ('x-amz-a: "b\\c"',))
    assert errand.for_curl().decode().split("\n") == [
        'url = "https://s3.example.org/a?b=%22"',
        'header = "x-amz-a: \\"b\\\\c\\""',
        "",
        "",
    ]
    assert "example.org" not in repr(errand)


@pytest.mark.parametrize(
    ("place", "settings", "host", "path"),
    [
        # Links that lead to the bucket's own region: another one answers with a redirection.
        ("s3://zones/lab", {}, "zones.s3.eu-central-1.amazonaws.com", "/lab/seeds/r/000001"),
        ("s3://a.b/lab", {}, "s3.eu-central-1.amazonaws.com", "/a.b/lab/seeds/r/000001"),
        (
            "s3://zones",
            {"endpoint_url": "http://10.0.0.9:9000"},
            "10.0.0.9:9000",
            "/zones/seeds/r/000001",
        ),
    ],
)
def test_a_link_is_for_one_object_one_method_and_so_many_seconds(keys, place, settings, host, path):
    config = S3Config(region="eu-central-1", **settings)
    passage = S3Passage(place, config)
    sending = passage.sending("r/000001", valid_s=90)
    fetching = passage.fetching("r/000001", valid_s=90)
    signatures = set()
    for errand in (sending, fetching):
        parts = urlsplit(errand.link.reveal())
        assert (parts.netloc, parts.path) == (host, path)
        query = parse_qs(parts.query)
        assert query["X-Amz-Expires"] == ["90"]
        assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
        assert "s3cret" not in errand.link.reveal()
        signatures.update(query["X-Amz-Signature"])
    assert len(signatures) == 2
    assert fetching.headers == ()


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({}, ["x-amz-server-side-encryption: AES256"]),
        ({"encryption": "bucket"}, []),
        (
            {"encryption": "aws:kms", "kms_key_id": "k1"},
            [
                "x-amz-server-side-encryption: aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id: k1",
            ],
        ),
    ],
)
def test_what_is_sent_is_encrypted_by_the_service_too(keys, settings, headers):
    passage = S3Passage("s3://zones/lab", S3Config(region="eu-central-1", **settings))
    errand = passage.sending("r/000001", valid_s=90)
    assert list(errand.headers) == headers
    # Signed with the link: without them the service does not take the object.
    signed = parse_qs(urlsplit(errand.link.reveal()).query)["X-Amz-SignedHeaders"][0].split(";")
    assert signed == ["host", *(header.split(":")[0] for header in headers)]


def test_no_script_holds_a_key_or_a_link():
    for script in (
        seedscripts.dump_script("opennebula", "zstd", 1024),
        seedscripts.load_script("opennebula", LOOKED, "n1"),
    ):
        words = shlex.split(script, comments=True)
        assert "read -r key" in script
        assert "--config" in words
        assert "-pass" in words
        assert not {"-k", "-K", "-iv"} & set(words)


@pytest.mark.parametrize(
    ("lacking", "packer"), [((), "zstd"), (("zstd",), "gzip"), (("curl", "zstd"), "gzip")]
)
def test_all_machines_unpack_what_the_source_packed(lacking, packer):
    looked = Looked("utf8mb4", "utf8mb4_general_ci", {"n1": (), "n2": lacking})
    assert looked.packer == packer
    assert f"{packer} -q -d -c" in seedscripts.load_script("opennebula", looked, "n1")


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (seeding.DAMAGED, "zstd: /*stdin*\\: unexpected end", "SHA-256 differs"),
        (seeding.CUT_SHORT, "", "before its end mark"),
        (seeding.BUSY, "", "an earlier seed"),
        (
            seeding.NOT_PASSED,
            "curl: (22) The requested URL returned error: 403\nerror reading input file\nzstd: x\n",
            "in vain: curl: (22) The requested URL returned error: 403",
        ),
        (1, "a\nERROR 1050 (42S01) at line 3: Table 'secret' already exists\n", "ERROR 1050"),
        (7, "", "status 7"),
    ],
)
def test_why_a_script_ended_is_told_in_words(status, said, expected):
    found = seeding.reason(ProgramError(Completed(("ssh",), status, "", said)))
    assert expected in found
    assert "secret" not in found


def test_every_reader_of_a_shipment_gets_all_parts_in_order():
    shipment = Shipment()
    seen: dict[int, list[Part]] = {0: [], 1: []}

    def read(reader: int) -> None:
        seen[reader].extend(shipment.parts())

    shipment.add(PARTS[0])
    readers = [threading.Thread(target=read, args=(reader,)) for reader in seen]
    for thread in readers:
        thread.start()
    for part in PARTS[1:]:
        shipment.add(part)
    assert not shipment.whole
    shipment.close(whole=True)
    for thread in readers:
        thread.join(5)
        assert not thread.is_alive()
    assert seen == {0: PARTS, 1: PARTS}
    assert shipment.whole


def test_a_shipment_that_breaks_off_is_not_whole():
    shipment = Shipment()
    shipment.add(PARTS[0])
    shipment.close(whole=False)
    assert list(shipment.parts()) == PARTS[:1]
    assert not shipment.whole
