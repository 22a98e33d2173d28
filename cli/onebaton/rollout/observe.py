"""One look at the world: the zone, what each of its servers says of itself, and the nodes.

Healthy is what was seen healthy. A server that does not answer is unknown and not down: a
leader that is cut off hangs altogether and still holds the virtual IP (measured note), so
that its machine is asked over ssh as well.
"""

import concurrent.futures
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from onebaton.errors import OnebatonError, RefusedError, UnavailableError, ZoneRefusal
from onebaton.model import (
    FrontEndFacts,
    Health,
    Host,
    Member,
    Node,
    NodeState,
    OnedSettings,
    Prior,
    PriorPhase,
    RaftState,
    Server,
    World,
    Zone,
    machine_of,
    node_at,
)
from onebaton.ports import Clock, FrontEnds, Platform, ZoneApi
from onebaton.rollout.health import Judge, Leader, Said

#: Code of ``oned`` for a wrong user or password (recorded answers).
AUTHENTICATION = 256
#: By the second heartbeat after a record every follower that hears the leader has applied it.
HEARTBEATS_TO_APPLY = 2
#: How the addresses begin that a held stand-by's list is filled up with (``StandBy.hold``).
LOOPBACK = "127."


def observe(
    api: ZoneApi,
    frontends: FrontEnds,
    platform: Platform,
    *,
    endpoints: Sequence[str],
    max_lag_records: int,
    clock: Clock,
    deadline_s: float = 30.0,
    rate_interval_s: float = 0.5,
    prior: Prior | None = None,
) -> World:
    """One look at the world.

    :param endpoints: where to ask for the zone, best first: the virtual IP's, then those of
        known nodes.
    :param max_lag_records: how far behind the leader a server may be and be healthy.
    :param deadline_s: for each round of questions; who has not answered by then is unknown.
    :param rate_interval_s: shortest time between the two readings that the rate of records is
        told from; 0 leaves the rate out.
    :param prior: the record of the last cut-over. While it is ``CUTTING``, only the virtual IP
        speaks for the zone; where nobody answers there, the zone is the old one as recorded.
    :raises UnavailableError: if nobody answers for the zone.
    :raises RefusedError: if it rejects the user or the password.
    """
    return _Observer(
        api,
        frontends,
        platform,
        endpoints=endpoints,
        max_lag_records=max_lag_records,
        clock=clock,
        deadline_s=deadline_s,
        rate_interval_s=rate_interval_s,
        prior=prior,
    ).look()


class _Observer:
    def __init__(
        self,
        api: ZoneApi,
        frontends: FrontEnds,
        platform: Platform,
        *,
        endpoints: Sequence[str],
        max_lag_records: int,
        clock: Clock,
        deadline_s: float,
        rate_interval_s: float,
        prior: Prior | None,
    ) -> None:
        self._api = api
        self._frontends = frontends
        self._platform = platform
        self._endpoints = tuple(dict.fromkeys(endpoints))
        self._max_lag_records = max_lag_records
        self._clock = clock
        self._deadline_s = deadline_s
        self._rate_interval_s = rate_interval_s
        self._prior = prior

    def look(self) -> World:
        first = self._first_answer()
        nodes = self._platform.nodes()
        said, facts = self._ask_all(first.servers, nodes)
        leader = self._leader(first.servers, said)
        servers = first.servers
        if leader is not None and set(leader.zone.servers) != set(servers):
            # The first to answer may be one whose list is behind: the leader's word counts.
            servers = leader.zone.servers
            said, facts = self._ask_all(servers, nodes)
            leader = self._leader(servers, said)
        settings: OnedSettings | None = None
        rate, read_at = 0.0, None
        if leader is not None:
            said, settings = self._ask_after(leader, servers, said)
            read_at = self._clock.monotonic()
            rate = self._records_per_second(leader)
            said = self._lists_again(leader, said, settings)
        judge = Judge(leader, _leaders(servers, said), self._max_lag_records)
        members = tuple(
            _member(server, judge.judged(server, said[server]), judge, nodes, facts)
            for server in servers
        )
        taken = {machine_of(member.server, nodes).name for member in members}
        return World(
            zone=leader.zone if leader is not None else first,
            members=members,
            nodes=nodes,
            settings=settings,
            node_facts={
                name: found
                for name in dict.fromkeys(
                    [*(n.spec.name for n in nodes), *(m.name for m in self._kept(nodes))]
                )
                if name not in taken and isinstance(found := facts.get(name), FrontEndFacts)
            },
            records_per_second=rate,
            prior=self._prior,
            read_at=read_at,
        )

    def _kept(self, nodes: Sequence[Node]) -> list[Host]:
        """Machines of somebody else that a cut-over left, and that may be brought back."""
        prior = self._prior
        if prior is None or prior.phase is PriorPhase.FINAL:
            return []
        ours = {node.spec.address for node in nodes}
        return [machine_of(s, nodes) for s in prior.zone.servers if s.address not in ours]

    def _first_answer(self) -> Zone:
        """The zone as the first endpoint sees it, or the first of the others that answers.

        The others are asked at once: most of them are addresses that nobody has right now,
        and each of those would cost a whole deadline.

        In the middle of a cut-over they are not asked: an old server that was not stopped yet,
        or the next release before it leads, would speak for a zone that is not served. Nor
        does a stand-by speak for the zone that lists servers at its own loopback.
        """
        problems: list[str] = []
        refusal: RefusedError | None = None
        prior = self._prior
        cutting = prior is not None and prior.phase is PriorPhase.CUTTING
        others = () if cutting else self._endpoints[1:]
        for endpoints in (self._endpoints[:1], others):
            answers = self._at_once({e: _question(self._zone, e) for e in endpoints})
            for endpoint in endpoints:
                answer = answers.get(endpoint)
                if isinstance(answer, Zone):
                    if not _held(answer):
                        return answer
                    problems.append(f"{endpoint} is a stand-by that is held")
                if isinstance(answer, RefusedError):
                    # It may be a machine of somebody else at a known address: go on looking.
                    refusal = refusal or answer
                if isinstance(answer, OnebatonError):
                    problems.append(answer.message)
        if refusal is not None:
            raise refusal
        if prior is not None and cutting:
            return prior.zone
        raise UnavailableError(
            "the zone is unreachable: none of its known endpoints answers",
            details=problems,
            resolution=(
                "Check the zone's virtual IP and the network in the configuration, and that "
                "opennebula.service runs on the front-ends; then run the same command again."
            ),
        )

    def _zone(self, endpoint: str) -> Zone | RefusedError | UnavailableError:
        try:
            return self._api.zone(endpoint)
        except (RefusedError, UnavailableError) as error:
            return error

    def _ask_all(
        self, servers: Sequence[Server], nodes: Sequence[Node]
    ) -> tuple[dict[Server, Said], dict[str, FrontEndFacts | str]]:
        """Every server over its API and every machine over ssh, all at once."""
        hosts = list(dict.fromkeys([*_hosts(servers, nodes), *self._kept(nodes)]))
        questions: dict[object, Callable[[], object]] = {
            server: _question(self._ask, server) for server in servers
        }
        questions["facts"] = _question(self._frontends.facts_of, hosts)
        answers = self._at_once(questions)
        found = answers.get("facts")
        said = {server: answers.get(server) for server in servers}
        silent = Said(
            health=Health.UNKNOWN, problem=f"did not answer within {self._deadline_s:g} s"
        )
        return (
            {s: answer if isinstance(answer, Said) else silent for s, answer in said.items()},
            dict(found) if isinstance(found, dict) else {},
        )

    def _ask(self, server: Server) -> Said:
        said = Said()
        try:
            # The first question that is not answered is the last: a hung server costs one
            # deadline and not three.
            said = replace(
                said,
                read_at=self._clock.monotonic(),
                raft=self._api.raft_status(server.endpoint),
            )
            said = replace(said, zone=self._api.zone(server.endpoint))
            return replace(said, version=self._api.version(server.endpoint))
        except ZoneRefusal as error:
            text = (
                "it rejects the zone's user and password: its secrets differ"
                if error.code == AUTHENTICATION
                else error.message
            )
            return replace(said, health=Health.UNHEALTHY, problem=text)
        except UnavailableError as error:
            return replace(said, health=Health.UNKNOWN, problem=error.message)

    def _leader(self, servers: Iterable[Server], said: Mapping[Server, Said]) -> Leader | None:
        """The one server that says it leads, if there is exactly one."""
        leaders = _leaders(servers, said)
        if len(leaders) != 1:
            return None
        theirs = said[leaders[0]]
        if theirs.raft is None or theirs.zone is None:
            return None
        return Leader(leaders[0], theirs.raft, theirs.zone, theirs.read_at)

    def _ask_after(
        self, leader: Leader, servers: Sequence[Server], said: Mapping[Server, Said]
    ) -> tuple[dict[Server, Said], OnedSettings | None]:
        """Read the followers' logs once more, now that the leader's was read.

        Writes go on meanwhile: what a follower lacks of the index that the leader had
        *before* is its lag; against a later index every follower would seem to lag.
        """
        asked = [s for s in servers if s != leader.server and said[s].health is Health.HEALTHY]
        questions: dict[object, Callable[[], object]] = {
            server: _question(self._again, server, said[server]) for server in asked
        }
        questions["settings"] = _question(self._settings, leader.server)
        answers = self._at_once(questions)
        silent = f"did not answer within {self._deadline_s:g} s"
        later = dict(said)
        for server in asked:
            answer = answers.get(server)
            later[server] = (
                answer
                if isinstance(answer, Said)
                else replace(said[server], health=Health.UNKNOWN, problem=silent)
            )
        settings = answers.get("settings")
        return later, settings if isinstance(settings, OnedSettings) else None

    def _again(self, server: Server, said: Said) -> Said:
        try:
            return replace(said, raft=self._api.raft_status(server.endpoint))
        except OnebatonError as error:
            return replace(said, raft=None, health=Health.UNKNOWN, problem=error.message)

    def _lists_again(
        self, leader: Leader, said: dict[Server, Said], settings: OnedSettings | None
    ) -> dict[Server, Said]:
        """Ask those once more whose list of servers is not the leader's.

        A follower applies a record only when it hears that it was committed: with the next
        record, or with a heartbeat. In a quiet zone that comes after the answer to the
        ``addserver`` or ``delserver`` that was observed; only a list that stays is another.
        """
        wanted = set(leader.zone.servers)
        behind = [
            server
            for server, theirs in said.items()
            if theirs.zone is not None and set(theirs.zone.servers) != wanted
        ]
        if not behind or settings is None:
            return said
        heard_by = leader.read_at + HEARTBEATS_TO_APPLY * settings.broadcast_timeout_ms / 1000
        self._clock.sleep(max(0.0, heard_by - self._clock.monotonic()))
        answers = self._at_once({s: _question(self._zone, s.endpoint) for s in behind})
        later = dict(said)
        for server in behind:
            if isinstance(answer := answers.get(server), Zone):
                later[server] = replace(said[server], zone=answer)
        return later

    def _settings(self, server: Server) -> OnedSettings | None:
        try:
            return self._api.settings(server.endpoint)
        except OnebatonError:
            return None  # the leader answered a moment ago; the next observation tells

    def _records_per_second(self, leader: Leader) -> float:
        """Growth of the leader's log from its first reading to one made now."""
        if self._rate_interval_s <= 0:
            return 0.0
        passed = self._clock.monotonic() - leader.read_at
        if passed < self._rate_interval_s:
            self._clock.sleep(self._rate_interval_s - passed)
        try:
            now = self._api.raft_status(leader.server.endpoint)
        except OnebatonError:
            return 0.0  # the next observation tells
        passed = self._clock.monotonic() - leader.read_at
        return max(0, now.log_index - leader.raft.log_index) / passed if passed > 0 else 0.0

    def _at_once(self, questions: Mapping[object, Callable[[], object]]) -> dict[object, object]:
        """Answers that came within the deadline, by question; errors are raised."""
        pool = concurrent.futures.ThreadPoolExecutor(
            max_workers=max(1, len(questions)), thread_name_prefix="observe"
        )
        try:
            running = {pool.submit(question): name for name, question in questions.items()}
            done, _ = concurrent.futures.wait(running, self._deadline_s)
            return {running[future]: future.result() for future in done}
        finally:
            # Those that hang end by their own deadlines; nobody waits for them.
            pool.shutdown(wait=False, cancel_futures=True)


def _member(
    server: Server,
    said: Said,
    judge: Judge,
    nodes: Sequence[Node],
    facts: Mapping[str, FrontEndFacts | str],
) -> Member:
    node = node_at(server.address, nodes)
    found = facts.get(machine_of(server, nodes).name)
    known = found if isinstance(found, FrontEndFacts) else None
    health, problem = said.health, said.problem
    if health is Health.UNKNOWN and known is not None and not known.oned_active:
        # Its machine answers and says so: that is down, and no longer unknown.
        health = Health.UNHEALTHY
        problem = f"opennebula.service is {'masked' if known.oned_masked else 'not running'}"
    if known is not None and known.parked_at is not None:
        since = datetime.fromtimestamp(known.parked_at, UTC)
        health = Health.UNHEALTHY if said.raft is None else health
        problem = f"parked since {since:%Y-%m-%d %H:%M:%S} UTC" + (
            ", and it runs all the same" if known.oned_active else ""
        )
    return Member(
        server=server,
        health=health,
        raft=said.raft,
        version=said.version,
        lag=judge.lag(said.raft),
        node=node,
        facts=known,
        problem=problem,
    )


def _held(zone: Zone) -> bool:
    """The list of a stand-by that is held: beside it, servers at loopback, which nobody can be."""
    at_loopback = [server.address.startswith(LOOPBACK) for server in zone.servers]
    return any(at_loopback) and not all(at_loopback)


def _leaders(servers: Iterable[Server], said: Mapping[Server, Said]) -> list[Server]:
    return [
        server
        for server in servers
        if (raft := said[server].raft) is not None and raft.state is RaftState.LEADER
    ]


def _hosts(servers: Sequence[Server], nodes: Sequence[Node]) -> list[Host]:
    """All machines worth asking over ssh, each once."""
    gone = {node.host for node in nodes if node.state is not NodeState.RUNNING}
    wanted = [machine_of(server, nodes) for server in servers] + [node.host for node in nodes]
    return [host for host in dict.fromkeys(wanted) if host not in gone]


def _question(ask: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: ask(*arguments)
