"""What lies between the nodes on AWS and the wanted ones."""

from datetime import UTC, datetime

import pytest

from onebaton.adapters.aws_inventory import (
    Inventory,
    difference,
    imports_of,
    interface_address,
    machine_address,
    planned,
    records_of_the_dead,
    require_taken_over_only,
    take_inventory,
)
from onebaton.adapters.nodechanges import require_as_announced
from onebaton.adapters.terraform import Change, Resource
from onebaton.errors import RefusedError
from onebaton.model import NodeSpec, NodeState

SUBNETS = {f"10.0.0.1{n}": "subnet-1" for n in range(1, 5)}


def spec(number: int, *, ami: str = "ami-1") -> NodeSpec:
    return NodeSpec(f"n{number}", f"10.0.0.1{number}", "image:1", ami, "a")


def tags(of: NodeSpec) -> list[dict[str, str]]:
    values = {
        "onebaton:cluster": "lab",
        "onebaton:node": of.name,
        "onebaton:address": of.address,
        "onebaton:image": of.image,
        "onebaton:image-digest": of.image_digest,
        "onebaton:generation": of.generation,
    }
    return [{"Key": key, "Value": value} for key, value in values.items()]


def instance(number: int, *, state: str = "running", serial: int = 1, ami: str = "ami-1") -> dict:
    return {
        "InstanceId": f"i-{number}{serial}",
        "State": {"Name": state},
        "Tags": tags(spec(number, ami=ami)),
        "SubnetId": "subnet-1",
        "LaunchTime": datetime(2026, 1, serial, tzinfo=UTC),
    }


def interface(number: int, *, machine: str = "", serial: int = 1) -> dict:
    attachment = {"Attachment": {"InstanceId": machine}} if machine else {}
    return {
        "NetworkInterfaceId": f"eni-{number}{serial}",
        "TagSet": tags(spec(number)),
        "SubnetId": "subnet-1",
        **attachment,
    }


def recorded(address: str, identity: str, *, tainted: bool = False) -> Resource:
    return Resource(address, "", "", None, tainted, {"id": identity})


def records(*numbers: int, serial: int = 1) -> list[Resource]:
    return [
        one
        for number in numbers
        for one in (
            recorded(machine_address(f"n{number}"), f"i-{number}{serial}"),
            recorded(interface_address(f"n{number}"), f"eni-{number}{serial}"),
        )
    ]


def sound(*numbers: int) -> Inventory:
    """Nodes that live and are recorded."""
    return take_inventory(
        [instance(n) for n in numbers],
        [interface(n, machine=f"i-{n}1") for n in numbers],
        records(*numbers),
    )


def test_nodes_are_what_the_tags_say():
    (node,) = sound(1).nodes()
    assert (node.spec, node.state, node.instance) == (spec(1), NodeState.RUNNING, "i-11")


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        ("pending", NodeState.RUNNING),
        ("running", NodeState.RUNNING),
        ("stopping", NodeState.STOPPED),
        ("stopped", NodeState.STOPPED),
        ("shutting-down", NodeState.VANISHED),
        ("terminated", NodeState.VANISHED),
    ],
)
def test_a_machine_is_seen_as_it_is(state, seen):
    found = take_inventory([instance(1, state=state)], [interface(1)])
    assert [(node.state, node.instance) for node in found.nodes()] == [(seen, "i-11")]


def test_a_node_that_is_gone_whole_is_none():
    assert take_inventory([instance(1, state="terminated")], []).nodes() == ()


def test_the_living_machine_counts_and_not_an_earlier_one():
    found = take_inventory(
        [instance(1, serial=2), instance(1, state="terminated")], [interface(1, machine="i-12")]
    )
    assert [node.instance for node in found.nodes()] == ["i-12"]


def test_two_machines_of_one_node_are_refused():
    with pytest.raises(RefusedError, match="n1") as caught:
        take_inventory([instance(1), instance(1, serial=2)], [])
    assert "i-11" in caught.value.details[0]


def test_nothing_is_to_be_done_where_all_is_there():
    todo = difference(sound(1, 2), [spec(1), spec(2)], SUBNETS)
    assert todo.lines() == ()
    assert todo.expected() == {}


def test_creates_replaces_and_destroys():
    found = take_inventory(
        [instance(1), instance(2), instance(3, state="terminated")],
        [interface(1, machine="i-11"), interface(2, machine="i-21"), interface(3)],
        records(1, 2, 3),
    )
    todo = difference(found, [spec(1, ami="ami-2"), spec(3), spec(4)], SUBNETS)
    assert todo.replace == {"n1": "its specification changed", "n3": "it vanished"}
    assert todo.create == (spec(4),)
    assert todo.destroy == ("n2",)
    assert todo.expected() == {
        "n1": frozenset({"delete", "create"}),
        "n2": frozenset({"delete"}),
        # Terraform sees by itself that its machine is gone.
        "n3": frozenset({"create"}),
        "n4": frozenset({"create"}),
    }


def test_another_subnet_replaces_a_node():
    todo = difference(sound(1), [spec(1)], {spec(1).address: "subnet-2"})
    assert todo.replace == {"n1": "its subnet changed"}


def test_a_node_that_vanished_and_is_not_wanted_has_nothing_to_delete():
    found = take_inventory([], [interface(1)], records(1))
    todo = difference(found, [], SUBNETS)
    assert todo.destroy == ("n1",)
    assert todo.expected() == {}


def test_a_lost_record_costs_no_living_node():
    found = take_inventory([instance(1)], [interface(1, machine="i-11")])
    todo = difference(found, [spec(1)], SUBNETS)
    assert todo.adopt == {"n1": "i-11"}
    assert todo.made == frozenset()
    assert todo.expected() == {}
    assert imports_of(found, todo.adopt) == {
        machine_address("n1"): "i-11",
        interface_address("n1"): "eni-11",
    }


def test_an_old_record_is_dropped_before_the_living_machine_is_taken_over():
    found = take_inventory([instance(1, serial=2)], [interface(1, machine="i-12")], records(1))
    todo = difference(found, [spec(1)], SUBNETS)
    assert todo.adopt == {"n1": "i-12"}
    assert todo.forget == (machine_address("n1"),)
    assert imports_of(found, todo.adopt) == {machine_address("n1"): "i-12"}


def test_a_machine_whose_creation_was_not_seen_to_its_end_is_taken_over():
    found = take_inventory(
        [instance(1)],
        [interface(1, machine="i-11")],
        [
            recorded(machine_address("n1"), "i-11", tainted=True),
            recorded(interface_address("n1"), "eni-11"),
        ],
    )
    todo = difference(found, [spec(1)], SUBNETS)
    assert (todo.adopt, todo.forget) == ({"n1": "i-11"}, (machine_address("n1"),))


def test_records_of_machines_that_are_gone_are_dropped_before_others_are_taken_over():
    found = take_inventory(
        [instance(1)],
        [interface(1, machine="i-11"), interface(2)],
        [
            *records(2),
            recorded('terraform_data.place["n2"]', "x"),
            recorded("aws_iam_role.node[0]", "r"),
        ],
    )
    assert records_of_the_dead(found) == (
        machine_address("n2"),
        interface_address("n2"),
        'terraform_data.place["n2"]',
    )


def test_an_interface_that_keeps_an_address_for_nobody_is_left_over():
    found = take_inventory([], [interface(1)])
    todo = difference(found, [spec(1)], SUBNETS)
    assert todo.leftovers == {"n1": "eni-11"}
    assert todo.expected() == {"n1": frozenset({"create"})}


def test_a_plan_that_does_something_else_is_refused():
    todo = difference(sound(1, 2), [spec(1)], SUBNETS)
    changes = [
        Change(machine_address("n2"), ("delete",), importing=False),
        Change(interface_address("n2"), ("delete",), importing=False),
    ]
    require_as_announced(planned(changes, todo), todo.expected())
    taken = Change(interface_address("n1"), ("delete", "create"), importing=False)
    with pytest.raises(RefusedError) as caught:
        require_as_announced(planned([*changes, taken], todo), todo.expected())
    assert caught.value.details == ("n1: announced nothing, planned delete its interface",)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (Change(machine_address("n1"), ("no-op",), importing=True), False),
        (Change("terraform_data.specification", ("create",), importing=False), False),
        (Change("aws_security_group.nodes[0]", ("update",), importing=True), False),
        (Change(machine_address("n2"), ("create",), importing=False), True),
        (Change(interface_address("n2"), ("create",), importing=False), True),
        (Change(machine_address("n1"), ("delete", "create"), importing=False), True),
        (Change("aws_security_group.nodes[0]", ("delete",), importing=False), True),
    ],
)
def test_taking_over_changes_no_node(change, refused):
    if refused:
        with pytest.raises(RefusedError):
            require_taken_over_only([change])
    else:
        require_taken_over_only([change])
