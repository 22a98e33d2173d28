"""Where state is: a folder or an object store; and where a clone's files are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onebaton.config import ClusterConfig, S3Config
    from onebaton.ports import Store


def store_at(place: str, s3: S3Config) -> Store:
    """The store of a state.

    :param place: a folder, or ``s3://BUCKET/PREFIX``.
    """
    if "://" in place:
        from onebaton.adapters.s3store import S3Store

        return S3Store(place, s3)
    from onebaton.adapters.store import FolderStore

    return FolderStore(Path(place))


def clone_folder(production: ClusterConfig, clone: str) -> Path:
    """Where a clone keeps what stays on this machine."""
    return production.local_folder / "clones" / clone
