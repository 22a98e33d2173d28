"""What is recorded, what is there, and what lies between."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from onebaton.adapters import podman_checks as checks
from onebaton.adapters import podman_inventory as inventory
from onebaton.adapters.podman_inventory import Container, Inventory, PodmanNetwork, Record
from onebaton.adapters.terraform import Change, Resource
from onebaton.errors import ConfigError, RefusedError
from onebaton.model import NodeSpec, NodeState

SUBNET = IPv4Network("10.0.0.0/24")
OURS = {"onebaton.cluster": "lab"}


def spec(name: str, host: int = 11) -> NodeSpec:
    return NodeSpec(name, f"10.0.0.{host}", "image:1", "sha256:1", "a")


def container(of: NodeSpec, instance: str, state: str = "running") -> Container:
    labels = {
        **OURS,
        "onebaton.node": of.name,
        "onebaton.instance": instance,
        "onebaton.address": of.address,
        "onebaton.generation": of.generation,
        "onebaton.image": of.image,
        "onebaton.image-digest": of.image_digest,
    }
    return Container(f"id-{of.name}", of.name, state, labels, ("onebaton-lab",))


def record(of: NodeSpec, instance: str, *, sound: bool = True) -> Record:
    return Record(of, instance, sound)


def holding(
    records: list[Record] | None = None, containers: list[Container] | None = None
) -> Inventory:
    return Inventory({r.spec.name: r for r in records or ()}, {c.name: c for c in containers or ()})


N1, N2 = spec("n1"), spec("n2", 12)


def test_nothing_to_do_where_everything_is_as_wanted():
    world = holding([record(N1, "i1")], [container(N1, "i1")])
    todo = inventory.difference(world, [N1])
    assert todo.lines() == ()
    assert todo.expected() == {}
    assert [node.state for node in world.nodes()] == [NodeState.RUNNING]


def test_creates_what_is_not_there_and_destroys_what_is_not_wanted():
    world = holding([record(N1, "i1")], [container(N1, "i1")])
    todo = inventory.difference(world, [N2])
    assert todo.expected() == {"n1": frozenset({"delete"}), "n2": frozenset({"create"})}
    assert todo.remove == ()


def test_a_recorded_node_without_a_container_has_vanished():
    world = holding([record(N1, "i1")])
    assert [node.state for node in world.nodes()] == [NodeState.VANISHED]
    assert set(inventory.difference(world, [N1]).replace) == {"n1"}


def test_a_node_whose_creation_failed_is_not_there_whatever_podman_shows():
    world = holding([record(N1, "i1", sound=False)], [container(N1, "i1")])
    assert [node.state for node in world.nodes()] == [NodeState.VANISHED]
    assert set(inventory.difference(world, [N1]).replace) == {"n1"}
    unwanted = inventory.difference(world, [])
    assert unwanted.destroy == ("n1",)
    assert unwanted.remove == ("n1",)


def test_a_living_container_without_a_record_is_kept():
    todo = inventory.difference(holding([], [container(N1, "i1")]), [N1])
    assert todo.adopt == {"n1": "i1"}
    assert todo.expected() == {"n1": frozenset({"import"})}
    assert todo.forget == ()


def test_a_living_container_wins_over_a_record_of_an_earlier_one():
    world = holding([record(N1, "i0")], [container(N1, "i1")])
    assert world.nodes()[0].instance == "i1"
    todo = inventory.difference(world, [N1])
    assert todo.adopt == {"n1": "i1"}
    assert todo.forget == ("n1",)


def test_a_container_that_never_started_is_not_kept():
    world = holding([], [container(N1, "i1", "created")])
    assert [s.name for s in inventory.difference(world, [N1]).create] == ["n1"]


def test_an_unrecorded_container_of_another_kind_is_made_anew():
    other = replace(N1, image_digest="sha256:2")
    todo = inventory.difference(holding([], [container(other, "i1")]), [N1])
    assert [s.name for s in todo.create] == ["n1"]
    assert not todo.adopt


def test_an_unrecorded_container_that_is_not_wanted_goes():
    world = holding([], [container(N1, "i1", "exited")])
    assert [node.state for node in world.nodes()] == [NodeState.STOPPED]
    todo = inventory.difference(world, [])
    assert todo.remove == ("n1",)
    assert todo.expected() == {}


def test_another_specification_under_the_same_name_is_another_machine():
    world = holding([record(N1, "i1")], [container(N1, "i1")])
    todo = inventory.difference(world, [replace(N1, generation="b")])
    assert todo.expected() == {"n1": frozenset({"delete", "create"})}
    assert todo.made == {"n1"}


def test_the_network_goes_with_the_last_node():
    network = PodmanNetwork("onebaton-lab", "br0", (SUBNET,), OURS)
    world = replace(holding(), network=network, network_recorded=True)
    assert inventory.difference(world, []).lines() == ("remove network onebaton-lab",)
    assert inventory.difference(world, [N1]).remove_network is None


def test_a_recorded_network_that_is_gone_is_made_anew():
    world = replace(holding([record(N1, "i1")]), network_recorded=True)
    assert inventory.difference(world, [N1]).replace_network
    assert not inventory.difference(world, []).replace_network


def test_joins_state_and_containers_by_label():
    def node(name: str, values: dict[str, object], *, tainted: bool = False) -> Resource:
        address = inventory.node_address(name)
        return Resource(address, "terraform_data", "node", name, tainted, values)

    given = {"address": N1.address, "image": N1.image, "image_digest": "sha256:1"}
    world = inventory.take_inventory(
        [
            Resource("terraform_data.network[0]", "terraform_data", "network", None, False, {}),
            node("n1", {"id": "i1", "input": {**given, "generation": "a"}}),
            node("n2", {"id": "i2", "input": {**given, "generation": "a"}}, tainted=True),
            node("n3", {"id": "i3", "input": None}),
        ],
        [container(N1, "i1"), Container("x", "n2", "running", {}, ())],
        [PodmanNetwork("onebaton-lab", "br0", (SUBNET,), {})],
        cluster="lab",
        network="onebaton-lab",
    )
    assert world.records["n1"] == Record(N1, "i1", sound=True)
    assert not world.records["n2"].sound
    assert set(world.containers) == {"n1"}
    assert world.broken == {"n3"}
    assert world.network_recorded
    assert world.network is None  # it has the name, and not the label


def test_reads_a_plan_by_node_names():
    assert inventory.planned(
        [
            Change('terraform_data.node["n1"]', ("create", "delete"), importing=False),
            Change('terraform_data.node["n2"]', ("update",), importing=True),
            Change('terraform_data.specification["n1"]', ("update",), importing=False),
        ]
    ) == {"n1": frozenset({"create", "delete"}), "n2": frozenset({"import"})}


def test_reads_podmans_lists():
    (found,) = inventory.parse_containers(
        '[{"Id": "x", "Names": ["n1"], "State": "running", "Labels": null, "Networks": null}]'
    )
    assert found == Container("x", "n1", "running", {}, ())
    assert inventory.parse_containers("") == inventory.parse_containers("null") == ()
    (network,) = inventory.parse_networks(
        '[{"name": "n", "network_interface": "br0", "labels": {"a": "b"},'
        ' "subnets": [{"subnet": "10.0.0.0/24"}, {"subnet": "fd00::/64"}]}]'
    )
    assert network == PodmanNetwork("n", "br0", (SUBNET,), {"a": "b"})


def test_reads_routes_without_the_default_one():
    text = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "br0\t004D590A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert inventory.parse_routes(text) == (("br0", IPv4Network("10.89.77.0/24")),)


@pytest.mark.parametrize("host", [0, 1, 255])
def test_reserved_addresses_are_refused(host: int):
    with pytest.raises(ConfigError):
        checks.check_addresses([spec("n1", host)], SUBNET)


def test_all_wrong_addresses_are_told_at_once():
    outside = replace(spec("n3"), address="10.0.1.5")
    with pytest.raises(ConfigError) as caught:
        checks.check_addresses([N1, replace(N2, address=N1.address), outside], SUBNET)
    assert [line.split(":")[0] for line in caught.value.details] == ["n2", "n3"]
    checks.check_addresses([N1, N2], SUBNET)


def network_check(world: Inventory, networks: list[PodmanNetwork], *routes: tuple[str, str]):
    checks.check_network(
        world,
        networks,
        [(interface, IPv4Network(route)) for interface, route in routes],
        name="onebaton-lab",
        subnet=SUBNET,
    )


def test_a_free_subnet_is_taken():
    other = PodmanNetwork("podman", "br0", (IPv4Network("10.88.0.0/16"),), {})
    network_check(holding(), [other], ("eth0", "192.0.2.0/24"), ("br0", "10.88.0.0/16"))


@pytest.mark.parametrize(
    "other",
    [
        PodmanNetwork("other", "br0", (IPv4Network("10.0.0.128/25"),), {}),
        PodmanNetwork("onebaton-lab", "br0", (IPv4Network("10.9.0.0/24"),), {}),
    ],
    ids=["overlap", "name"],
)
def test_networks_of_somebody_else_are_refused(other: PodmanNetwork):
    with pytest.raises(RefusedError, match=other.name):
        network_check(holding(), [other])


def test_a_route_of_this_machine_is_refused():
    with pytest.raises(RefusedError, match="eth0"):
        network_check(holding(), [], ("eth0", "10.0.0.0/16"))


def test_our_own_network_stands_in_nobodys_way():
    network = PodmanNetwork("onebaton-lab", "br0", (SUBNET,), OURS)
    world = replace(holding([record(N1, "i1")]), network=network)
    network_check(world, [network], ("br0", "10.0.0.0/24"))


def test_our_network_with_another_subnet_is_refused_while_it_has_nodes():
    network = PodmanNetwork("onebaton-lab", "br0", (IPv4Network("10.9.0.0/24"),), OURS)
    world = replace(holding([record(N1, "i1")]), network=network)
    with pytest.raises(RefusedError, match="another subnet"):
        network_check(world, [network])
    network_check(replace(holding(), network=network), [network])
