"""What the doctor reads beyond an observation."""

import concurrent.futures
from collections.abc import Sequence

from onebaton.errors import OnebatonError
from onebaton.examination import Checkup, Reading, Transients
from onebaton.model import Member, World
from onebaton.ports import Clock, Examiner, ZoneApi

#: At most so many active VMs, and so many images, are looked at.
TRANSIENTS_LIMIT = 5000


def check_up(
    api: ZoneApi, examiner: Examiner, world: World, *, clock: Clock, window_s: float
) -> Checkup:
    """Examine the machines of all members, then ask all servers a second time.

    :param world: the first reading.
    :param window_s: shortest time between both readings.
    """
    began = world.read_at if world.read_at is not None else clock.monotonic()
    hosts = tuple(dict.fromkeys(member.host for member in world.members))
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        examining = pool.submit(examiner.examine, hosts)
        listing = pool.submit(_transients, api, world)
        examinations, transients = examining.result(), listing.result()
    rest = window_s - (clock.monotonic() - began)
    if rest > 0:
        clock.sleep(rest)
    readings = _again(api, world.members)
    return Checkup(
        window_s=clock.monotonic() - began,
        examinations=examinations,
        readings=readings,
        transients=transients,
    )


def _transients(api: ZoneApi, world: World) -> Transients | None:
    if world.leader is None:
        return None
    try:
        return api.transients(world.leader.server.endpoint, limit=TRANSIENTS_LIMIT)
    except OnebatonError:
        return None  # told as unknown


def _again(api: ZoneApi, members: Sequence[Member]) -> dict[int, Reading]:
    if not members:
        return {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(members)) as pool:
        answers = pool.map(lambda member: _reading(api, member), members)
        pairs = zip(members, answers, strict=True)
        return {member.server.id: answer for member, answer in pairs if answer is not None}


def _reading(api: ZoneApi, member: Member) -> Reading | None:
    try:
        raft = api.raft_status(member.server.endpoint)
        zone = api.zone(member.server.endpoint)
    except OnebatonError:
        return None  # told as unknown
    return Reading(raft.term, tuple(sorted(server.id for server in zone.servers)))
