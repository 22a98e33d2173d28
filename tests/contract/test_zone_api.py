"""One suite for whatever implements ``ports.ZoneApi``: the adapter against recorded answers
and against a living zone (the stand-in's, or any that the environment names), and the fake.
"""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.contract import loopback
from tests.contract.loopback import SESSION, Replay, closed, serving
from tests.fakes.zone import three_servers

from onebaton.adapters.zone import OneZone
from onebaton.errors import RefusedError, UnavailableError, ZoneRefusal
from onebaton.model import RaftState, Secret
from onebaton.ports import ZoneApi

pytestmark = pytest.mark.contract


@dataclass
class Subject:
    """Something that implements the port, with a zone behind it."""

    api: ZoneApi
    stranger: ZoneApi
    leader: str
    followers: tuple[str, ...] = ()


def fake() -> Subject:
    api, stranger = three_servers(), three_servers()
    stranger.password_is_right = False
    first, *others = api.servers
    return Subject(api, stranger, first, tuple(others))


def living(request: pytest.FixtureRequest) -> Subject:
    """A zone of three running servers: the stand-in's, or the one that the environment names."""
    every, session = request.getfixturevalue("endpoints_of_610")
    api = OneZone(Secret(session))
    stranger = OneZone(Secret(session.partition(":")[0] + ":wrong"))
    leaders = [e for e in every if api.raft_status(e).state is RaftState.LEADER]
    assert len(leaders) == 1
    return Subject(api, stranger, leaders[0], tuple(e for e in every if e not in leaders))


@pytest.fixture(params=["6.10.0", "7.0.2", "fake", "living"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """All that can be read from."""
    if request.param == "fake":
        yield fake()
    elif request.param == "living":
        yield living(request)
    else:
        api, stranger = OneZone(Secret(SESSION)), OneZone(Secret("oneadmin:wrong"))
        if request.param == "7.0.2":
            with serving(Replay("7.0.2", "10.89.0.16")) as leader:
                yield Subject(api, stranger, leader)
            return
        follower = Replay("6.10.0", "10.89.0.12")
        with serving(Replay("6.10.0", "10.89.0.11")) as leader, serving(follower) as second:
            yield Subject(api, stranger, leader, (second,))


@pytest.fixture(params=["fake", "living"])
def writable(request: pytest.FixtureRequest) -> Subject:
    """All that can be changed."""
    return fake() if request.param == "fake" else living(request)


@pytest.fixture
def name(writable: Subject) -> Iterator[str]:
    """A prefix of this test's own; what it leaves behind is removed."""
    prefix = f"onebaton-contract-{uuid.uuid4().hex[:8]}-"
    yield prefix
    for document in writable.api.documents(writable.leader, prefix):
        writable.api.delete_document(writable.leader, document)


class TestReading:
    def test_the_version_is_three_numbers(self, subject):
        assert re.fullmatch(r"\d+\.\d+\.\d+(\.\d+)?", subject.api.version(subject.leader))

    def test_a_server_speaks_for_itself(self, subject):
        leader = subject.api.raft_status(subject.leader)
        assert leader.state is RaftState.LEADER
        assert leader.term >= 1
        assert leader.log_index >= leader.commit >= 0
        assert leader.fedlog_index == -1
        for endpoint in subject.followers:
            follower = subject.api.raft_status(endpoint)
            assert follower.state is RaftState.FOLLOWER
            assert follower.term == leader.term
            assert follower.server_id != leader.server_id

    def test_the_zone_lists_its_servers_by_id(self, subject):
        zone = subject.api.zone(subject.leader)
        ids = [server.id for server in zone.servers]
        assert zone.enabled
        assert ids == sorted(ids)
        assert subject.api.raft_status(subject.leader).server_id in ids
        assert all(re.fullmatch(r"http://.+:\d+/RPC2", s.endpoint) for s in zone.servers)

    def test_a_follower_sees_the_same_zone(self, subject):
        for endpoint in subject.followers:
            assert subject.api.zone(endpoint) == subject.api.zone(subject.leader)

    def test_settings(self, subject):
        settings = subject.api.settings(subject.leader)
        assert settings.federation_mode == "STANDALONE"
        assert settings.server_id in [s.id for s in subject.api.zone(subject.leader).servers]
        assert settings.election_timeout_ms >= 2 * settings.broadcast_timeout_ms > 0
        assert settings.xmlrpc_timeout_ms >= 0
        assert settings.log_retention > 0

    def test_a_wrong_password_is_refused_with_256(self, subject):
        for ask in (subject.stranger.raft_status, subject.stranger.zone):
            with pytest.raises(ZoneRefusal) as caught:
                ask(subject.leader)
            assert caught.value.code == 256

    def test_a_server_that_leads_not_adds_none(self, subject):
        for endpoint in subject.followers:
            with pytest.raises(RefusedError):
                subject.api.add_server(endpoint, "other", "http://192.0.2.7:2633/RPC2")

    def test_name_and_endpoint_in_use_are_refused(self, subject):
        first = subject.api.zone(subject.leader).servers[0]
        with pytest.raises(RefusedError):
            subject.api.add_server(subject.leader, first.name, "http://192.0.2.7:2633/RPC2")
        with pytest.raises(RefusedError):
            subject.api.add_server(subject.leader, "other", first.endpoint)

    def test_adding_what_is_there_answers_its_id(self, subject):
        for server in subject.api.zone(subject.leader).servers:
            again = subject.api.add_server(subject.leader, server.name, server.endpoint)
            assert again == server.id

    def test_nobody_there(self, subject):
        with pytest.raises(UnavailableError) as caught:
            subject.api.zone(dead := closed())
        assert dead in str(caught.value)


class TestChanging:
    def test_a_document_lives_and_goes(self, writable, name):
        api, leader = writable.api, writable.leader
        document = api.create_document(leader, f"{name}a")
        assert api.documents(leader, name) == {document: f"{name}a"}
        assert api.documents(leader, f"{name}b") == {}
        before = api.raft_status(leader).log_index
        api.update_document(leader, document, "what 1: is <written> & said")
        assert api.raft_status(leader).log_index > before
        api.delete_document(leader, document)
        assert api.documents(leader, name) == {}
        api.delete_document(leader, document)

    def test_writes_through_followers(self, writable, name):
        for number, endpoint in enumerate(writable.followers):
            document = writable.api.create_document(endpoint, f"{name}{number}")
            writable.api.update_document(endpoint, document, "x")
            assert document in writable.api.documents(writable.leader, name)

    def test_a_zone_without_vms_has_no_operation_in_flight(self, writable):
        seen = writable.api.transients(writable.leader, limit=50)
        assert (seen.found, seen.looked_at, seen.complete) == ((), 0, True)

    def test_no_such_document_is_1024(self, writable):
        with pytest.raises(ZoneRefusal) as caught:
            writable.api.update_document(writable.leader, 999999, "x")
        assert caught.value.code == 1024

    def test_no_such_server_is_2048(self, writable):
        with pytest.raises(ZoneRefusal) as caught:
            writable.api.delete_server(writable.leader, 77)
        assert caught.value.code == 2048

    def test_a_server_comes_and_goes(self, writable):
        api, leader = writable.api, writable.leader
        before = api.zone(leader).servers
        if len(before) < 3:
            pytest.skip("a server that does not run would cost this zone its quorum")
        added = api.add_server(leader, "contract", "http://127.0.0.1:1/RPC2")
        try:
            assert added > max(s.id for s in before)
            assert api.add_server(leader, "contract", "http://127.0.0.1:1/RPC2") == added
            assert [s.id for s in api.zone(leader).servers] == [*(s.id for s in before), added]
            api.reset_server(leader, added)
        finally:
            api.delete_server(leader, added)
        assert api.zone(leader).servers == before


class TestRecordedTraps:
    """What only the adapter can get wrong, against the real answers."""

    @pytest.fixture
    def api(self) -> OneZone:
        return OneZone(Secret(SESSION))

    def test_values_of_6_10(self, api):
        with serving(Replay("6.10.0", "10.89.0.11")) as endpoint:
            assert api.version(endpoint) == "6.10.0"
            status = api.raft_status(endpoint)
            assert (status.server_id, status.term, status.commit, status.log_index) == (0, 1, 2, 2)
            zone = api.zone(endpoint)
            assert [(s.id, s.name, s.address) for s in zone.servers] == [
                (0, "n1", "10.89.0.11"),
                (1, "n2", "10.89.0.12"),
                (2, "n3", "10.89.0.13"),
            ]
            settings = api.settings(endpoint)
            assert (settings.election_timeout_ms, settings.log_retention) == (5000, 250000)

    def test_a_disabled_zone(self, api):
        replay = Replay("7.0.2", "10.89.0.16", prefer=("zone.info of a disabled zone",))
        with serving(replay) as endpoint:
            assert not api.zone(endpoint).enabled

    def test_a_disabled_zone_refuses_with_8192(self, api):
        replay = Replay("7.0.2", "10.89.0.16")
        with serving(replay) as endpoint, pytest.raises(ZoneRefusal) as caught:
            api.add_server(endpoint, "zz", "http://10.89.0.99:2633/RPC2")
        assert caught.value.code == 8192
        assert "zone disabled" in caught.value.message

    def test_duplicates_are_refused_before_anything_is_sent(self, api):
        replay = Replay("6.10.0", "10.89.0.11")
        with serving(replay) as endpoint, pytest.raises(RefusedError) as caught:
            api.add_server(endpoint, "n1", "http://10.89.0.77:2633/RPC2")
        assert "server 0: n1" in caught.value.details[0]
        assert "one.zone.addserver" not in [method for method, _ in replay.requests]

    def test_after_a_crash_the_server_is_found_and_not_added_again(self, api):
        replay = Replay("6.10.0", "10.89.0.11", prefer=("zone.info after the duplicate name",))
        with serving(replay) as endpoint:
            assert api.add_server(endpoint, "n1", "http://10.89.0.77:2633/RPC2") == 3
        assert "one.zone.addserver" not in [method for method, _ in replay.requests]

    def test_no_zone_of_that_id(self):
        with (
            serving(Replay("6.10.0", "10.89.0.11")) as endpoint,
            pytest.raises(ZoneRefusal) as caught,
        ):
            OneZone(Secret(SESSION), zone_id=77).zone(endpoint)
        assert caught.value.code == 1024

    def test_reads_share_a_connection_and_writes_do_not(self, api):
        replay = Replay("6.10.0", "10.89.0.11")
        with serving(replay) as endpoint:
            for _ in range(20):
                api.raft_status(endpoint)
            assert replay.connections == 1
            for _ in range(2):
                with pytest.raises(ZoneRefusal):
                    api.delete_server(endpoint, 77)
            assert replay.connections == 3

    def test_a_closed_connection_costs_a_read_nothing(self, api):
        once = loopback.recorded_calls("6.10.0")[0]["response"].encode()

        def answers_once(connection, _):
            loopback.read_request(connection)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(once)}\r\n\r\n"
            connection.sendall(head.encode() + once)

        with loopback.misbehaving(answers_once) as endpoint:
            assert [api.version(endpoint) for _ in range(5)] == ["6.10.0"] * 5

    def test_the_numbers_of_a_server_with_other_secrets(self, api):
        raft = (
            "<RAFT><SERVER_ID>-1</SERVER_ID><STATE>1</STATE><TERM>4294967295</TERM>"
            "<VOTEDFOR>-1</VOTEDFOR><COMMIT>18446744073709551615</COMMIT><LOG_INDEX>-1</LOG_INDEX>"
            "<LOG_TERM>-1</LOG_TERM><FEDLOG_INDEX>18446744073709551615</FEDLOG_INDEX></RAFT>"
        )
        with loopback.misbehaving(loopback.answers(good(raft))) as endpoint:
            status = api.raft_status(endpoint)
        assert (status.server_id, status.term, status.log_index) == (-1, 4294967295, -1)
        assert status.state is RaftState.CANDIDATE

    def test_a_server_of_7_has_another_endpoint_too(self, api):
        zone = (
            "<ZONE><ID>0</ID><NAME>z</NAME><STATE>0</STATE><TEMPLATE/><SERVER_POOL><SERVER>"
            "<ENDPOINT>http://a:2633/RPC2</ENDPOINT><ENDPOINT_GRPC>a:2634</ENDPOINT_GRPC>"
            "<ID>4</ID><NAME>n</NAME></SERVER></SERVER_POOL></ZONE>"
        )
        with loopback.misbehaving(loopback.answers(good(zone))) as endpoint:
            assert [s.id for s in api.zone(endpoint).servers] == [4]

    def test_operations_in_flight_are_named_and_read_by_the_page(self, api):
        asked: list[tuple[str, list[int]]] = []
        images = _pool("IMAGE", [(3, 1, 0), (5, 4, 0)])

        def pages(connection, _):
            while request := loopback.read_request(connection):
                method = re.search(rb"<methodName>one.(\w+)", request)[1].decode()
                numbers = [int(n) for n in re.findall(rb"<int>(-?\d+)</int>", request)]
                asked.append((method, numbers))
                body = good(images if method == "imagepool" else _vms(*numbers[1:4]))
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)

        def _vms(start: int, end: int, state: int) -> str:
            # 700 that run, but for the last one that is booting and one of a failed migration.
            if state != 3:
                return _pool("VM", [])
            lcm = {699: 20, 698: 37}
            every = [(n, 3, lcm.get(n, 3)) for n in range(700)]
            return _pool("VM", every[start : start - end])

        with loopback.misbehaving(pages) as endpoint:
            seen = api.transients(endpoint, limit=5000)
            cut = api.transients(endpoint, limit=600)
        assert [(t.kind, t.id, t.state) for t in seen.found] == [
            ("VM", 699, "BOOT_POWEROFF"),
            ("image", 5, "LOCKED"),
        ]
        assert (seen.looked_at, seen.complete) == (702, True)
        assert asked[:4] == [
            ("vmpool", [-2, 0, -500, 3]),
            ("vmpool", [-2, 500, -500, 3]),
            ("vmpool", [-2, 0, -500, 10]),
            ("imagepool", [-2, 0, -500]),
        ]
        assert (cut.looked_at, cut.complete) == (602, False)
        assert [t.kind for t in cut.found] == ["image"]

    def test_the_heartbeat_carries_64_bit_zeros(self, api):
        seen: list[bytes] = []

        def keeps(connection, _):
            seen.append(loopback.read_request(connection))
            body = good(7)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)

        with loopback.misbehaving(keeps) as endpoint:
            api.heartbeat(endpoint, 7)
        values = re.findall(rb"<value><(i8|int|string)>([^<]*)</", seen[0])
        assert b"one.zone.replicate" in seen[0]
        assert values[1:] == [
            (b"int", b"-1"),
            (b"i8", b"0"),
            (b"int", b"7"),
            (b"i8", b"0"),
            (b"int", b"0"),
            (b"i8", b"0"),
            (b"int", b"0"),
            (b"i8", b"0"),
            (b"string", b""),
        ]

    @pytest.mark.parametrize("bad", ['n"1', "n]1", "n\n1", "n\\1"])
    def test_names_cannot_break_out_of_a_template(self, api, bad):
        with pytest.raises(RefusedError):
            api.add_server(closed(), bad, "http://10.0.0.1:2633/RPC2")
        with pytest.raises(RefusedError):
            api.create_document(closed(), bad)


def _pool(kind: str, states: list[tuple[int, int, int]]) -> str:
    """A pool of objects: id, STATE, LCM_STATE (of VMs)."""
    lcm = "<LCM_STATE>{}</LCM_STATE>" if kind == "VM" else ""
    objects = "".join(
        f"<{kind}><ID>{number}</ID><NAME>o{number}</NAME><STATE>{state}</STATE>"
        f"{lcm.format(lcm_state)}</{kind}>"
        for number, state, lcm_state in states
    )
    return f"<{kind}_POOL>{objects}</{kind}_POOL>"


def good(value: str | int) -> bytes:
    """A good answer with this value."""
    kind = "i4" if isinstance(value, int) else "string"
    text = str(value).replace("<", "&lt;")
    return (
        "<methodResponse><params><param><value><array><data><value><boolean>1</boolean></value>"
        f"<value><{kind}>{text}</{kind}></value><value><i4>0</i4></value></data></array></value>"
        "</param></params></methodResponse>"
    ).encode()
