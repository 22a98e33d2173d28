"""A reporter that remembers."""


class ListReporter:
    """Implements the port ``Reporter``; each kind of line in a list of its own."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.waits: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """A line that stays."""
        self.notes.append(text)

    def progress(self, text: str) -> None:
        """What is waited for."""
        self.waits.append(text)

    def warn(self, text: str) -> None:
        """A line that must be seen."""
        self.warnings.append(text)
