"""How a simulated cluster objects, and how the tool dies in it."""


class DiedError(BaseException):
    """The tool was killed: nothing of it goes on."""


class DangerError(AssertionError):
    """The zone was put into danger."""


def insist(condition: bool, text: str) -> None:
    """Object unless it is so."""
    if not condition:
        raise DangerError(text)
