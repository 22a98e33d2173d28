"""What goes wrong on machines in memory."""

from dataclasses import dataclass, field


@dataclass
class Faults:
    """What goes wrong, by machine.

    :ivar never_boots: machines that do not come up.
    :ivar other_secrets: machines whose secrets become others than those they are given.
    :ivar bad_seed: machines whose database is damaged when it is loaded.
    :ivar bad_apply: machines that lose a row when their ``oned`` starts.
    """

    never_boots: set[str] = field(default_factory=set)
    other_secrets: set[str] = field(default_factory=set)
    bad_seed: set[str] = field(default_factory=set)
    bad_apply: set[str] = field(default_factory=set)
