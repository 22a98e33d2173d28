"""The zone's row in ``zone_pool``: its servers, and whether it is enabled."""

from __future__ import annotations

from oned import objects
from oned.database import escape
from oned.store import Store


class ZoneTable:
    """Reads and writes the row of this server's zone."""

    def __init__(self, store: Store, zone_id: int) -> None:
        self._store = store
        self.zone_id = zone_id
        self.disabled = False
        """Whether this server holds the zone for disabled: read at the start and when it
        becomes leader, set by ``one.zone.enable`` through it. A follower does not learn
        of it (source: ``Nebula::update_zone_state``)."""

    def read(self) -> objects.Zone | None:
        """The row, read anew."""
        rows = self._store.read(f"SELECT body FROM zone_pool WHERE oid = {self.zone_id}")
        return objects.Zone.parse(str(rows[0][0])) if rows else None

    def endpoints(self) -> dict[int, str]:
        """Endpoint of each server by id; empty without a row."""
        zone = self.read()
        return zone.endpoints() if zone else {}

    def write(self, zone: objects.Zone) -> bool:
        """Replace the row, through the log."""
        return self._store.write(
            f"UPDATE zone_pool SET name = '{escape(zone.name)}', body = '{escape(zone.to_xml())}', "
            "uid = 0, gid = 0, owner_u = 1, group_u = 0, other_u = 0 "
            f"WHERE oid = {zone.oid}"
        )

    def refresh(self) -> None:
        """Learn anew whether the zone is disabled."""
        zone = self.read()
        self.disabled = zone is not None and zone.state == 1
