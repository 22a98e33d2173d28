"""``oned``'s XML-RPC in a simulated cluster, behind :class:`onebaton.ports.ZoneApi`."""

import itertools
from typing import TYPE_CHECKING

from tests.fakes.frontends import Change
from tests.fakes.simulated_raft import TERM_OF_OTHER_SECRETS, Oned, servers_in
from tests.fakes.zone import AUTHENTICATION, NO_EXISTS, refusal

from onebaton.errors import RefusedError, UnavailableError
from onebaton.examination import Transients
from onebaton.model import OnedSettings, RaftStatus, Server, Zone

if TYPE_CHECKING:
    from tests.fakes.simulated import SimulatedCluster

DOCUMENTS = "document_pool"


class SimulatedApi:
    """Every server answers from its own memory and its own database.

    :param secrets: user and password of whoever asks, as in ``one_auth``.
    """

    def __init__(self, cluster: "SimulatedCluster", secrets: str) -> None:
        self._cluster = cluster
        self._secrets = secrets
        self._ids = itertools.count()

    def version(self, endpoint: str) -> str:
        return self._asked(endpoint).version

    def raft_status(self, endpoint: str) -> RaftStatus:
        oned = self._asked(endpoint)
        term, last = oned.last
        return RaftStatus(
            server_id=oned.server_id,
            state=oned.state,
            term=oned.term,
            voted_for=oned.voted_for,
            commit=oned.commit,
            log_index=last,
            log_term=term,
            fedlog_index=-1,
        )

    def zone(self, endpoint: str) -> Zone:
        servers = servers_in(self._asked(endpoint).database)
        return Zone(0, "OpenNebula", True, tuple(servers[i] for i in sorted(servers)))

    def settings(self, endpoint: str) -> OnedSettings:
        oned = self._asked(endpoint)
        retention = self._cluster.log_retention
        timeout_ms = round(oned.patience_s * 1000)
        return OnedSettings("STANDALONE", 0, oned.server_id, timeout_ms, 500, 1000, retention)

    def add_server(self, endpoint: str, name: str, server_endpoint: str) -> int:
        for server in self.zone(endpoint).servers:
            if (server.name, server.endpoint) == (name, server_endpoint):
                return server.id
            if server.name == name or server.endpoint == server_endpoint:
                raise RefusedError(f"the zone has a server of the name {name} already")
        with self._cluster.change(f"add_server {name}"):
            leader = self._leader(endpoint)
            number = self._cluster.next_server_id(leader)
            server = Server(number, name, server_endpoint)
            index = self._cluster.raft.change_servers(leader, server, added=True)
            self._cluster.commit(leader, index)
        return number

    def delete_server(self, endpoint: str, server_id: int) -> None:
        with self._cluster.change(f"delete_server {server_id}"):
            leader = self._leader(endpoint)
            self._cluster.insist_deletable(server_id)
            server = Server(server_id, "", "")
            index = self._cluster.raft.change_servers(leader, server, added=False)
            self._cluster.commit(leader, index)

    def reset_server(self, endpoint: str, server_id: int) -> None:
        with self._cluster.change(f"reset_server {server_id}"):
            self._leader(endpoint)

    def heartbeat(self, endpoint: str, term: int) -> None:
        with self._cluster.change(f"heartbeat {endpoint}"):
            self._cluster.raft.heartbeat(self._asked(endpoint), term)

    def create_document(self, endpoint: str, name: str) -> int:
        number = next(self._ids)
        self._write(f"create_document {number}", endpoint, (DOCUMENTS, str(number), name))
        return number

    def update_document(self, endpoint: str, document_id: int, content: str) -> None:
        name = self.documents(endpoint, "").get(document_id)
        if name is None:
            raise refusal(NO_EXISTS, f"Error getting document [{document_id}].")
        change = ("document_content", str(document_id), content)
        self._write(f"update_document {document_id}", endpoint, change)

    def delete_document(self, endpoint: str, document_id: int) -> None:
        what = f"delete_document {document_id}"
        self._write(what, endpoint, (DOCUMENTS, str(document_id), ""))

    def documents(self, endpoint: str, prefix: str) -> dict[int, str]:
        rows = self._asked(endpoint).database.tables.get(DOCUMENTS, {})
        return {int(key): name for key, name in rows.items() if name and name.startswith(prefix)}

    def transients(self, endpoint: str, *, limit: int) -> Transients:  # noqa: ARG002
        self._asked(endpoint)
        return Transients((), 0, complete=True)

    def _asked(self, endpoint: str) -> Oned:
        oned = self._cluster.asked_by_the_tool(endpoint)
        if oned is None:
            raise UnavailableError(f"{endpoint} did not answer: the connection was refused")
        if oned.secrets != self._secrets:
            raise refusal(AUTHENTICATION, "User couldn't be authenticated, aborting call.")
        return oned

    def _leader(self, endpoint: str) -> Oned:
        leader = self._cluster.raft.leader_for(self._asked(endpoint))
        if leader.term == TERM_OF_OTHER_SECRETS:
            raise UnavailableError(f"{endpoint} did not answer in time")
        return leader

    def _write(self, what: str, endpoint: str, change: Change) -> None:
        with self._cluster.change(what):
            leader = self._leader(endpoint)
            self._cluster.commit(leader, self._cluster.raft.append(leader, change))
