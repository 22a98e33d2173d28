"""Channels, revocations, and what a prune leaves alone."""

import contextlib
import json
from dataclasses import replace

import pytest
from tests.fakes.platform import FakePlatform
from tests.fakes.reporter import ListReporter
from tests.fakes.store import MemoryStore

from onebaton import main, wiring
from onebaton.adapters.startfile import Choices, write
from onebaton.bake.pruning import sort_out
from onebaton.bake.standing import Standing
from onebaton.errors import RefusedError, Status, UnreadableError, UsageError
from onebaton.model import Image, NodeSpec, Schema
from onebaton.plan.underway import Goal
from onebaton.plan.wanted import Condemned
from onebaton.views import ImageRow, ImageView, PruneView
from onebaton.wiring import catalogue as use_cases
from onebaton.wiring.cluster import Cluster
from onebaton.wiring.options import Options


def image(number: int, version: str = "6.10.5") -> Image:
    schema = Schema("6.10.0", "6.10.0")
    built = f"2026-01-0{number}T00:00:00Z"
    name, digest = f"lab/i:{number}", f"sha256:{number}"
    return Image(name, digest, version, schema, "fake", "b", f"r{number}", built, "1.6")


A, B, C, D = (image(number) for number in (1, 2, 3, 4))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def standing(store: MemoryStore) -> Standing:
    return Standing(store)


def test_a_channel_holds_the_image_promoted_last(standing: Standing):
    assert standing.channel("staging") is None
    standing.promote(A, "staging", 1.0)
    standing.promote(B, "staging", 2.0)
    standing.promote(A, "production", 3.0)
    assert [(c.name, c.image) for c in standing.channels()] == [
        ("production", A.name),
        ("staging", B.name),
    ]


def test_a_revoked_image_is_promoted_to_nothing(standing: Standing):
    standing.promote(A, "staging", 1.0)
    standing.revoke(A, "it has a hole", 2.0)
    # The same content under another name is no better.
    with pytest.raises(RefusedError) as refused:
        standing.promote(replace(A, name="other"), "production", 3.0)
    assert refused.value.details == ("it has a hole",)
    assert standing.channel("production") is None
    standing.reinstate(A)
    standing.promote(A, "production", 3.0)


@pytest.mark.parametrize("content", [b"{", b'{"format": 1}', b"[]"])
@pytest.mark.parametrize("key", ["channels/staging.json", "revoked/x.json"])
def test_an_entry_that_cannot_be_read_is_not_passed_over(store, standing, key, content):
    store.write(key, content)
    with pytest.raises(UnreadableError, match=key):
        standing.channels() if key.startswith("channels") else standing.revoked()


def test_a_later_format_is_not_guessed_at(store, standing):
    standing.revoke(A, "it has a hole", 2.0)
    (key,) = store.keys("revoked/")
    store.write(key, json.dumps(json.loads(store.read(key)) | {"format": 2}).encode())
    with pytest.raises(UnreadableError) as raised:
        standing.revoked()
    assert raised.value.details == ("format 2; this version reads 1",)


def sorted_out(*images: Image, keep: int = 0, **said):
    given = {"nodes": (), "channels": (), "revoked": (), "underway": {}} | said
    found = sort_out(images, keep=keep, **given)
    assert {i.name for i in images} == {
        *(i.name for i in found.going),
        *(i.name for i, _ in found.staying),
    }
    return [i.name for i in found.going], {i.name: why for i, why in found.staying}


def test_what_nothing_needs_goes():
    assert sorted_out(A, B) == ([A.name, B.name], {})


def test_the_newest_of_each_version_stay_but_revoked_ones_do_not_count():
    other = replace(D, version="7.0.2")
    going, staying = sorted_out(A, B, C, other, keep=1, revoked={C.digest})
    assert going == [A.name, C.name]
    assert staying == {
        B.name: "among the newest of 6.10.5",
        other.name: "among the newest of 7.0.2",
    }
    assert sorted_out(A, B, C, keep=2)[0] == [A.name]


def test_what_is_in_use_in_a_channel_or_underway_stays_revoked_or_not(standing: Standing):
    platform = FakePlatform({A.name: A.digest})
    platform.apply([NodeSpec("z-a1", "10.0.0.11", A.name, A.digest, "a")])
    platform.lose("z-a1")
    standing.promote(B, "production", 1.0)
    going, staying = sorted_out(
        A,
        B,
        C,
        D,
        nodes=platform.nodes(),
        channels=standing.channels(),
        revoked={A.digest, B.digest, C.digest},
        underway={C.digest: "the cut-over to it is not final"},
    )
    assert going == [D.name]
    assert staying == {
        A.name: "in use by z-a1",
        B.name: "in the channel production",
        C.name: "the cut-over to it is not final",
    }


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A cluster on the platform in memory: four images, one node."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "packages").mkdir()
    for name in ("id_ed25519", "id_ed25519.pub", "oneadmin"):
        (tmp_path / "secrets" / name).write_text("secret\n")
    path = tmp_path / "cluster.yaml"
    write(path, Choices("podman", "lab", "6.10.5", str(tmp_path / "packages")), force=False)
    platform = FakePlatform({i.name: i.digest for i in (A, B, C, D)})
    platform.apply([NodeSpec("lab-a1", "10.77.10.11", A.name, A.digest, "a")])
    with contextlib.ExitStack() as closing:
        cluster = Cluster(Options(path, ListReporter()), closing)
        cluster.__dict__["platform"] = platform
        for one in (A, B, C, D):
            cluster.catalogue.add(one)

        @contextlib.contextmanager
        def opened(_options):
            # As a new command begins: what was read before is read again.
            cluster.__dict__.pop("revoked", None)
            yield cluster

        monkeypatch.setattr(use_cases, "opened", opened)
        yield cluster


def test_the_life_of_an_image(there):
    options = there.options
    wiring.promote(options, B.name, "production")
    wiring.revoke(options, A.name, "it has a hole")
    rows = {row.name: row for row in wiring.images(options)}
    assert rows[B.name].channels == ("production",)
    assert rows[A.name].revoked == "it has a hole"
    assert rows[C.name] == ImageRow(**{f: getattr(C, f) for f in C.__slots__})
    shown = wiring.show_image(options, A.name)
    assert (shown.present, shown.nodes, shown.image.revoked) == (True, ("lab-a1",), "it has a hole")

    preview = wiring.prune_preview(options, keep=1)
    assert preview.going == (C.name,)
    assert dict(preview.staying).keys() == {A.name, B.name, D.name}
    there.goals.save(Goal(C.name, C.digest, C.version, 1.0))
    assert wiring.prune(options, keep=1).going == ()
    there.goals.forget()
    there.condemned.save(Condemned("lab-a2", "10.77.10.12", "i2", C.digest))
    assert wiring.prune(options, keep=1).going == ()
    there.condemned.forget()
    assert wiring.prune(options, keep=1) == preview
    assert C.name not in there.platform.images
    assert [row.name for row in wiring.images(options)] == [A.name, B.name, D.name]

    assert wiring.reinstate(options, A.name).image.revoked is None
    # No longer used: it goes, although nobody revoked it.
    there.platform.apply([])
    assert wiring.prune(options, keep=1).going == (A.name,)


def test_an_image_that_a_stranger_uses_stays_in_the_catalogue(there, monkeypatch):
    def refuse(image: Image) -> None:
        raise RefusedError(f"the image {image.name} is still in use on this machine")

    monkeypatch.setattr(there.platform, "remove_image", refuse)
    with pytest.raises(RefusedError, match="still in use"):
        wiring.prune(there.options, keep=0)
    assert len(wiring.images(there.options)) == 4


@pytest.mark.parametrize("call", ["show_image", "reinstate"])
def test_an_unknown_name_is_told(there, call):
    with pytest.raises(UsageError, match="no image 'nothing'"):
        getattr(wiring, call)(there.options, "nothing")


# The command line


VIEW = ImageView(ImageRow(**{f: getattr(A, f) for f in A.__slots__}), True, ("lab-a1",))


@pytest.mark.parametrize(
    ("argv", "called"),
    [
        (["show", "i"], ("show_image", ("i",), {})),
        (["promote", "i", "production"], ("promote", ("i", "production"), {})),
        (["revoke", "i", "--reason", "bad"], ("revoke", ("i", "bad"), {})),
        (["revoke", "i", "--undo"], ("reinstate", ("i",), {})),
        (["prune", "--yes", "--keep", "3"], ("prune", (), {"keep": 3})),
    ],
)
def test_commands_reach_their_use_cases(argv, called, monkeypatch, capsys):
    seen = []

    def answering(name, answer):
        def use_case(_options, *args, **said):
            seen.append((name, args, said))
            return answer

        monkeypatch.setattr(wiring, name, use_case)

    for name in ("show_image", "revoke", "reinstate"):
        answering(name, VIEW)
    answering("promote", A)
    answering("prune", PruneView((A.name,), ()))
    monkeypatch.setattr(wiring, "prune_preview", lambda *_, **__: PruneView((A.name,), ()))
    assert main.main(["images", *argv, "-c", "x.yaml"]) == Status.OK
    assert seen == [called]
    assert A.name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["images", "--state", "x", "show", "i"], "--state stands before show"),
        (["images", "revoke", "i"], "give either --reason or --undo"),
        (["images", "revoke", "i", "--undo", "--reason", "x"], "give either --reason or --undo"),
        (["images", "promote", "i", "../x"], "CHANNEL: must start with a letter"),
    ],
)
def test_what_cannot_be_meant_is_told(argv, message, capsys):
    assert main.main(argv) == Status.USAGE
    assert message in capsys.readouterr().err


def test_nothing_is_pruned_unasked(monkeypatch, capsys):
    monkeypatch.setattr(
        wiring, "prune_preview", lambda *_, **__: PruneView(("i",), (("j", "in use by n"),))
    )
    monkeypatch.setattr(wiring, "prune", lambda *_, **__: pytest.fail("pruned"))
    assert main.main(["images", "prune"]) == Status.USAGE
    out = capsys.readouterr()
    assert "j: stays, in use by n" in out.out
    assert "--yes" in out.err
