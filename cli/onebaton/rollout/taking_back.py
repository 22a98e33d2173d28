"""What a rollback would bring back and lose, and what finalizing would give up."""

from datetime import UTC, datetime

from onebaton.errors import OnebatonError
from onebaton.model import Host, Prior, PriorPhase, World, machine_of
from onebaton.plan.actions import Destroy, Plan, Reinstate
from onebaton.standby import StandBy, Written
from onebaton.views import FinalView, RollbackView

#: Where probes write.
_DOCUMENTS = "document_pool"
NOTHING = "nothing was written since the cut"


def written(world: World, standby: StandBy) -> Written | str:
    """What was written since the cut, or why nothing is told of it, in words.

    Asked of the new generation's leader; where none leads, of the node that took over. A
    database that does not answer must not stand in the way of a rollback: it may be the reason
    for it.
    """
    prior = world.prior
    if prior is None or prior.cut_index is None:
        return NOTHING
    if prior.phase is PriorPhase.CUTTING and prior.served_at is not None:
        return "the cut-over is being taken back already: this goes on with it"
    host = _holder(world, prior)
    if host is None:
        return f"what was written since the cut cannot be told: {prior.node} is gone"
    try:
        return standby.written_since(host, prior.cut_index)
    except OnebatonError as error:
        return f"what was written since the cut cannot be told: {error.message}"


def _holder(world: World, prior: Prior) -> Host | None:
    leader = world.leader
    if leader is not None and leader.server not in prior.zone.servers:
        return leader.host
    return next((node.host for node in world.nodes if node.spec.name == prior.node), None)


def rollback_view(world: World, plan: Plan, since: Written | str) -> RollbackView:
    """What an operator decides on.

    :param plan: of the rollback.
    :param since: what will be lost, as :func:`written` tells it.
    """
    stops = tuple(
        name for action in plan.actions if isinstance(action, Reinstate) for name in action.stop
    )
    prior = world.prior
    return RollbackView(
        zone_name=world.zone.name,
        version=prior.version if prior is not None else None,
        brings_back=tuple(s.name for s in prior.zone.servers) if prior is not None else (),
        stops=stops,
        records=since.records if isinstance(since, Written) else None,
        lost=_lost(since),
    )


def _lost(since: Written | str) -> tuple[str, ...]:
    if isinstance(since, str):
        return (since,)
    if not since.records:
        return (NOTHING,)
    told = [f"what was written since the cut is lost: {since.records} log records{_times(since)}"]
    changes = ", ".join(f"{table} {count}" for table, count in sorted(since.objects.items()))
    if changes:
        own = " (the probes of the rollout write documents too)" if _DOCUMENTS in changes else ""
        told.append(f"changes lost, by table: {changes}{own}")
    return tuple(told)


def _times(since: Written) -> str:
    if since.first_at is None or since.last_at is None:
        return ""
    first, last = (datetime.fromtimestamp(at, UTC) for at in (since.first_at, since.last_at))
    return f", from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"


def final_view(world: World, plan: Plan) -> FinalView:
    """What an operator decides on.

    :param plan: of finalizing.
    """
    prior = world.prior
    if not plan.actions:
        return FinalView(world.zone.name, nothing=_why_nothing(prior))
    destroys = tuple(
        name for action in plan.actions if isinstance(action, Destroy) for name in action.names
    )
    servers = prior.zone.servers if prior is not None else ()
    stay = [s for s in servers if machine_of(s, world.nodes).name not in destroys]
    return FinalView(
        world.zone.name,
        destroys=destroys,
        stay=tuple(
            f"{server.name} ({server.address}) is no node of this cluster: it stays as it is, "
            "stopped and masked"
            for server in stay
        ),
    )


def _why_nothing(prior: Prior | None) -> str:
    if prior is not None and prior.phase is PriorPhase.FINAL:
        return "the last cut-over is final already, and nothing of the old generation is left"
    return "there was no cut-over: nothing is kept that could be given up"
