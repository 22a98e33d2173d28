"""What a platform's own records say, beside the machines that it shows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StateIdentity:
    """One state of a platform's records: Terraform counts each time that its state is written.

    :param lineage: tells this state from any other one, for good.
    :param serial: how often it was written (Terraform's state format 4).
    """

    lineage: str
    serial: int

    def __str__(self) -> str:
        return f"serial {self.serial} of {self.lineage}"


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """What would be done to one resource.

    :param actions: Terraform's words: ``create``, ``update``, ``delete``; ``import`` for what is
        only recorded.
    :param content: SHA-256 over what would stand there, sensitive values left out.
    """

    address: str
    actions: tuple[str, ...]
    content: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What a platform would do, seen without doing it.

    :param pending: a line each, for people; empty if nothing.
    :param changes: Terraform's saved plan, ordered by address; empty where Terraform would do
        nothing, or cannot plan before something else is put right.
    """

    pending: tuple[str, ...]
    changes: tuple[RecordedChange, ...] = ()
