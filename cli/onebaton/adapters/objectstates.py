"""States of virtual machines and images, and which of them are the middle of an operation.

Numbers and names as OpenNebula documents them ("Virtual Machine States Reference", "Images",
6.10 and 7.0). What is not in the tables is newer than they are and told by its number.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from onebaton.examination import Transient

#: STATE of a VM. LCM_STATE says more only while it is active.
_ACTIVE, _CLONING = 3, 10
#: LCM_STATE of a VM with which nothing is being done: running, or nobody knows.
_AT_REST = frozenset({3, 16})

LCM_STATES = {
    0: "LCM_INIT",
    1: "PROLOG",
    2: "BOOT",
    3: "RUNNING",
    4: "MIGRATE",
    5: "SAVE_STOP",
    6: "SAVE_SUSPEND",
    7: "SAVE_MIGRATE",
    8: "PROLOG_MIGRATE",
    9: "PROLOG_RESUME",
    10: "EPILOG_STOP",
    11: "EPILOG",
    12: "SHUTDOWN",
    15: "CLEANUP_RESUBMIT",
    16: "UNKNOWN",
    17: "HOTPLUG",
    18: "SHUTDOWN_POWEROFF",
    19: "BOOT_UNKNOWN",
    20: "BOOT_POWEROFF",
    21: "BOOT_SUSPENDED",
    22: "BOOT_STOPPED",
    23: "CLEANUP_DELETE",
    24: "HOTPLUG_SNAPSHOT",
    25: "HOTPLUG_NIC",
    26: "HOTPLUG_SAVEAS",
    27: "HOTPLUG_SAVEAS_POWEROFF",
    28: "HOTPLUG_SAVEAS_SUSPENDED",
    29: "SHUTDOWN_UNDEPLOY",
    30: "EPILOG_UNDEPLOY",
    31: "PROLOG_UNDEPLOY",
    32: "BOOT_UNDEPLOY",
    33: "HOTPLUG_PROLOG_POWEROFF",
    34: "HOTPLUG_EPILOG_POWEROFF",
    35: "BOOT_MIGRATE",
    36: "BOOT_FAILURE",
    37: "BOOT_MIGRATE_FAILURE",
    38: "PROLOG_MIGRATE_FAILURE",
    39: "PROLOG_FAILURE",
    40: "EPILOG_FAILURE",
    41: "EPILOG_STOP_FAILURE",
    42: "EPILOG_UNDEPLOY_FAILURE",
    43: "PROLOG_MIGRATE_POWEROFF",
    44: "PROLOG_MIGRATE_POWEROFF_FAILURE",
    45: "PROLOG_MIGRATE_SUSPEND",
    46: "PROLOG_MIGRATE_SUSPEND_FAILURE",
    47: "BOOT_UNDEPLOY_FAILURE",
    48: "BOOT_STOPPED_FAILURE",
    49: "PROLOG_RESUME_FAILURE",
    50: "PROLOG_UNDEPLOY_FAILURE",
    51: "DISK_SNAPSHOT_POWEROFF",
    52: "DISK_SNAPSHOT_REVERT_POWEROFF",
    53: "DISK_SNAPSHOT_DELETE_POWEROFF",
    54: "DISK_SNAPSHOT_SUSPENDED",
    55: "DISK_SNAPSHOT_REVERT_SUSPENDED",
    56: "DISK_SNAPSHOT_DELETE_SUSPENDED",
    57: "DISK_SNAPSHOT",
    59: "DISK_SNAPSHOT_DELETE",
    60: "PROLOG_MIGRATE_UNKNOWN",
    61: "PROLOG_MIGRATE_UNKNOWN_FAILURE",
    62: "DISK_RESIZE",
    63: "DISK_RESIZE_POWEROFF",
    64: "DISK_RESIZE_UNDEPLOYED",
    65: "HOTPLUG_NIC_POWEROFF",
    66: "HOTPLUG_RESIZE",
    67: "HOTPLUG_SAVEAS_UNDEPLOYED",
    68: "HOTPLUG_SAVEAS_STOPPED",
    69: "BACKUP",
    70: "BACKUP_POWEROFF",
    71: "RESTORE",
}

#: STATE of an image in the middle of an operation.
_IMAGE_STATES = {4: "LOCKED", 6: "CLONE", 7: "DELETE", 9: "LOCKED_USED", 10: "LOCKED_USED_PERS"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a pool: how many objects it holds, and those that something is done with."""

    count: int
    transient: tuple[Transient, ...]


def vm_state(state: int, lcm_state: int) -> str | None:
    """Name of the operation that a VM is in the middle of; ``None`` if it is at rest."""
    if state == _CLONING:
        return "CLONING"
    name = LCM_STATES.get(lcm_state, f"LCM_STATE {lcm_state}")
    if state != _ACTIVE or lcm_state in _AT_REST or name.endswith("_FAILURE"):
        return None
    return name


def image_state(state: int) -> str | None:
    """Name of the operation that an image is in the middle of; ``None`` if it is at rest."""
    return _IMAGE_STATES.get(state)


def _vms(pool: Any) -> Page:  # noqa: ANN401 - pyone has no types
    return _page("VM", ((vm, vm_state(int(vm.STATE), int(vm.LCM_STATE))) for vm in pool.VM))


def _images(pool: Any) -> Page:  # noqa: ANN401 - pyone has no types
    return _page("image", ((image, image_state(int(image.STATE))) for image in pool.IMAGE))


def _page(kind: str, objects: Iterable[tuple[Any, str | None]]) -> Page:
    every = list(objects)
    transient = (
        Transient(kind, int(found.ID), str(found.NAME), state)
        for found, state in every
        if state is not None
    )
    return Page(len(every), tuple(transient))


#: Calls that list them: method, the filter after the page, and how an answer is read.
POOLS: tuple[tuple[str, tuple[int, ...], Callable[[Any], Page]], ...] = (
    ("vmpool.info", (_ACTIVE,), _vms),
    ("vmpool.info", (_CLONING,), _vms),
    ("imagepool.info", (), _images),
)
