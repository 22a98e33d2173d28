"""What must hold while one generation takes the place of another with another schema."""

from typing import TYPE_CHECKING

from tests.fakes.danger import insist

from onebaton.model import PriorPhase

if TYPE_CHECKING:
    from tests.fakes.simulated import SimulatedCluster


def insist_one_generation(cluster: "SimulatedCluster") -> bool:
    """Object if two generations could both serve.

    :returns: whether a cut-over is under way: nobody need serve then.
    """
    record = cluster.priors.load()
    running = {
        name: cluster.machines[name].requires
        for name, oned in cluster.raft.oneds.items()
        if not cluster.is_held(oned)
    }
    insist(len(set(running.values())) <= 1, f"two generations run: {sorted(running)}")
    for name, oned in cluster.raft.oneds.items():
        leads = oned in cluster.raft.leaders
        insist(not (cluster.is_held(oned) and leads), f"{name} is held, and leads")
    if record is None:
        return False
    holders = [name for name, machine in cluster.machines.items() if machine.holds_vip]
    insist(len(holders) <= 1, f"the virtual IP is on {holders}")
    insist(set(holders) <= set(running), f"the virtual IP is on {holders}, without an oned")
    return record.phase is PriorPhase.CUTTING
