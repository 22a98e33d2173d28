"""Starting and stopping the server, with the real one's times and traces."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from onecore import release
from onecore.places import Places, find
from oned.bootstrap import BootstrapError, create_objects, create_tables, needs_bootstrap
from oned.calls import Calls
from oned.change_calls import ChangeCalls
from oned.database import Database, DatabaseError
from oned.hooks import RaftHook
from oned.http import Server
from oned.journal import Journal
from oned.logdb import LogDB
from oned.machine_calls import MachineCalls
from oned.plain_calls import PlainCalls
from oned.pool_calls import PoolCalls
from oned.raft import Actions, Raft
from oned.settings import Delays, Settings, SettingsError
from oned.store import Store
from oned.zone_calls import ZoneCalls
from oned.zone_table import ZoneTable

_RAFT_PART_OF_START = 0.2
_USAGE = "Usage: oned [-h] [-v] [-f] [-i]\n"


class StartFailed(Exception):
    """The server cannot start."""


class Daemon:
    """One run of the server."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._release = release.installed()
        try:
            self._settings = Settings.read(places.oned_conf)
            self._delays = Delays.read(places.delays_conf)
            level = int(self._settings.section("LOG")["DEBUG_LEVEL"])
            path = places.log / "oned.log"
            self._journal = Journal(
                path if self._settings.section("LOG")["SYSTEM"] == "file" else None,
                self._settings.zone_id,
                level,
            )
            # /var/lib/one/config is where follower_cleanup looks for the hook.
            (places.var / "config").write_text(self._settings.template.to_text(), encoding="utf-8")
        except (SettingsError, OSError, ValueError) as error:
            raise StartFailed(str(error)) from error

    def _open(self, *, only_bootstrap: bool) -> tuple[Database, LogDB]:
        settings, journal = self._settings, self._journal
        solo = settings.server_id == -1
        database = Database(settings.database)
        database.create()
        journal.info("ONE", "Checking database version.")
        empty = needs_bootstrap(database, self._release, journal)
        if empty and settings.mode != "STANDALONE":
            raise StartFailed("Database has to be bootstraped to start oned in FEDERATION")
        if empty and not solo and not only_bootstrap:
            raise StartFailed("Database has to be bootstraped to start oned in HA")
        if empty:
            create_tables(database, self._release, journal)
        raft = settings.raft
        log = LogDB(database, journal, self._release, raft.log_retention, raft.limit_purge)
        if not only_bootstrap and not database.read("SELECT oid FROM user_pool WHERE oid = 0"):
            create_objects(database, self._places, settings.number("PORT"), self._release)
        return database, log

    def bootstrap(self) -> None:
        """``oned -i``: create the tables and end."""
        try:
            database, _ = self._open(only_bootstrap=True)
        except (BootstrapError, DatabaseError, SettingsError) as error:
            raise StartFailed(str(error)) from error
        database.close()
        self._journal.info("ONE", "Database bootstrap finalized, exiting.\n")

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        :raises StartFailed: if the database is not the one this release needs.
        """
        started = time.monotonic()
        told_to_stop = _stop_signals()
        journal, settings = self._journal, self._settings
        journal.info(
            "ONE",
            f"Starting OpenNebula {self._release.version} ()\n"
            f"Using hostname: {socket.gethostname()}",
        )
        try:
            database, log = self._open(only_bootstrap=False)
            # A second for the database, then the drivers; Raft runs from the first on.
            _sleep_until(started + self._delays.start_delay_s * _RAFT_PART_OF_START)
            raft, server = self._assemble(database, log)
            raft.start()
            _sleep_until(started + self._delays.start_delay_s)
            journal.info("ReM", "Starting Request Manager...")
            server.start()
            journal.info("ReM", f"Starting XML-RPC server, port {settings.text('PORT')} ...")
            journal.info("ReM", "Request Manager started")
        except (BootstrapError, DatabaseError, SettingsError, OSError) as error:
            journal.info("ONE", "All modules finalized, exiting.\n")
            raise StartFailed(str(error)) from error
        _notify_systemd("READY=1")
        os.read(told_to_stop, 1)
        stopping = time.monotonic()
        server.stop()
        raft.finish()
        _sleep_until(stopping + self._delays.stop_delay_s)
        database.close()
        journal.info("ONE", "All modules finalized, exiting.\n")

    def _assemble(self, database: Database, log: LogDB) -> tuple[Raft, Server]:
        settings, journal = self._settings, self._journal
        store = Store(database, log, journal, solo=settings.server_id == -1)
        zone = ZoneTable(store, settings.zone_id)
        zone.refresh()
        hooks = [
            RaftHook(hook, self._places.remotes, journal) if hook else None
            for hook in map(settings.hook, ("RAFT_LEADER_HOOK", "RAFT_FOLLOWER_HOOK"))
        ]
        raft = Raft(
            settings.server_id,
            settings.raft,
            log,
            journal,
            Actions(servers=zone.endpoints, became_leader=zone.refresh),
            hooks=(hooks[0], hooks[1]),
            warmup_s=self._delays.warmup_s,
            row_delay_ms=self._delays.row_delay_ms,
        )
        calls = Calls(raft, store, journal, zone, self._release)
        ZoneCalls(calls)
        PoolCalls(calls, settings)
        change = ChangeCalls(calls)
        PlainCalls(calls, change)
        MachineCalls(calls, change)
        store.attach(raft)
        server = Server(
            calls.answer,
            journal,
            address=(settings.text("LISTEN_ADDRESS"), settings.number("PORT")),
            connections_max=settings.number("MAX_CONN"),
            backlog=settings.number("MAX_CONN_BACKLOG"),
            idle_s=settings.number("KEEPALIVE_TIMEOUT"),
            requests_max=settings.number("KEEPALIVE_MAX_CONN"),
        )
        return raft, server


def _stop_signals() -> int:
    """Where a byte can be read once SIGTERM or SIGINT has come.

    A pipe, not an event: a signal that comes in the moment before an event is waited for is
    noticed a minute later, or its handler waits for ever for the event's own lock. And a
    handler, not a blocked signal: hooks would inherit that and outlive their stop.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reading


def _sleep_until(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)


def _notify_systemd(state: str) -> None:
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    if name.startswith("@"):
        name = "\0" + name[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5.0)
        channel.sendto(state.encode(), name)


def _take_lock(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o640))
    except OSError:
        return False
    return True


def main(argv: list[str]) -> int:
    """``oned [-h] [-v] [-f] [-i]``; without -f it goes to the background."""
    options = set(argv)
    if not options <= {"-h", "--help", "-v", "--version", "-f", "--foreground", "-i", "--init-db"}:
        sys.stderr.write(_USAGE)
        return 255
    if options & {"-h", "--help"}:
        sys.stdout.write(_USAGE)
        return 0
    if options & {"-v", "--version"}:
        sys.stdout.write(f"OpenNebula {release.installed().version}\n")
        return 0
    places = find()
    if options & {"-i", "--init-db"}:
        return _reporting(lambda: Daemon(places).bootstrap())
    if not _take_lock(places.lock_file):
        sys.stderr.write(f"Error: Cannot start oned, opening lock file {places.lock_file}\n")
        return 255
    if not options & {"-f", "--foreground"}:
        if os.fork():
            os._exit(0)
        os.setsid()
    status = _reporting(lambda: Daemon(places).run())
    places.lock_file.unlink(missing_ok=True)
    sys.stdout.flush()
    # Threads may still wait for a majority that never comes.
    os._exit(status)


def _reporting(action: Callable[[], None]) -> int:
    try:
        action()
    except StartFailed as error:
        sys.stderr.write(f"{error}\n")
        return 255
    return 0
