"""The record of a cut-over comes back as it was written, or not at all."""

import json
from dataclasses import replace

import pytest
from tests.fakes.store import MemoryStore

from onebaton.errors import Status, UnreadableError
from onebaton.model import Prior, PriorPhase, Schema, Server, Zone
from onebaton.rollout.priors import KEY, Priors

PRIOR = Prior(
    zone=Zone(
        0,
        "lab",
        True,
        (
            Server(0, "z-a1", "http://10.0.0.11:2633/RPC2"),
            Server(2, "z-a3", "http://10.0.0.13:2633/RPC2"),
        ),
    ),
    leader_id=2,
    node="z-b1",
    schema=Schema("6.10.0", "6.10.0"),
    version="6.10.5",
    image_digest="sha256:7",
    way="stand-by",
    phase=PriorPhase.CUTTING,
    began_at=1.25,
)


@pytest.mark.parametrize(
    "prior",
    [
        PRIOR,
        replace(PRIOR, cut_index=4711, version=None),
        replace(PRIOR, phase=PriorPhase.SERVED, cut_index=4711, served_at=7.5),
    ],
)
def test_it_comes_back_as_it_was_written(prior):
    store = MemoryStore()
    assert Priors(store).load() is None
    Priors(store).save(prior)
    assert Priors(store).load() == prior
    Priors(store).forget()
    assert Priors(store).load() is None


def _broken(**change: object) -> bytes:
    store = MemoryStore()
    Priors(store).save(PRIOR)
    data = json.loads(store.content[KEY])
    data["prior"] |= change
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "JSON"),
        (b'{"format": 1, "prior"', "JSON"),
        (b'{"format": 2, "phases": []}', "format 2"),
        (_broken(phase="undecided"), "prior.phase"),
        (_broken(leader_id="2"), "prior.leader_id"),
        (_broken(zone=None), "prior.zone"),
    ],
)
def test_what_cannot_be_read_is_never_taken_for_no_cut_over(content, said):
    store = MemoryStore()
    store.write(KEY, content)
    with pytest.raises(UnreadableError) as caught:
        Priors(store).load()
    assert caught.value.status is Status.UNREADABLE == 65
    assert any(said in detail for detail in caught.value.details)
    # It stays there to be looked at.
    assert store.content[KEY] == content
