"""What AWS does wrong, in words."""

import time

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from onebaton.adapters.aws_errors import told
from onebaton.adapters.aws_session import Service
from onebaton.errors import UnavailableError

SAID = "you sent AKIAKEY and s3cret"


class Client:
    """As much of a client as a service touches before it is asked."""

    class meta:  # noqa: N801 - the library's name
        class events:  # noqa: N801
            @staticmethod
            def register(_event: str, _hook: object) -> None:
                pass


def answer(code: str, status: int = 400, tries: int = 1) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": SAID},
            "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": tries - 1},
        },
        "RunInstances",
    )


def service(timeout_s: float = 5.0) -> Service[Client]:
    return Service("EC2", Client, place="eu-central-1", timeout_s=timeout_s)


def failing(error: Exception):
    def work(_client):
        raise error

    return work


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("UnauthorizedOperation", 403, "the rights for it are missing"),
        ("AuthFailure", 401, "does not know the keys"),
        ("RequestLimitExceeded", 503, "overloaded"),
        ("InsufficientInstanceCapacity", 500, "no machine of this type"),
        ("VcpuLimitExceeded", 400, "limit is reached"),
        ("InvalidSubnetID.NotFound", 400, "does not exist"),
        ("InternalError", 500, "the service failed"),
        ("Unheard", 403, "the rights for it are missing"),
        ("Unheard", 400, "does not take the request"),
    ],
)
def test_an_answer_is_told_by_its_code_and_never_by_its_text(code, status, words):
    error = told(answer(code, status, tries=3), "look for the nodes", "EC2 in eu-central-1")
    assert error.message.startswith("cannot look for the nodes: ")
    assert words in error.message
    assert f"it answered {code} (HTTP status {status}), after 3 tries" in error.details
    assert error.resolution
    assert SAID not in f"{error.message}{error.details}{error.resolution}"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError(), "there are no keys"),
        (EndpointConnectionError(endpoint_url="https://x"), "cannot be reached"),
    ],
)
def test_what_the_library_finds_is_told_without_a_word_of_s3(error, words):
    with pytest.raises(UnavailableError, match=words) as caught:
        service().call("look for the nodes", failing(error))
    assert "s3" not in f"{caught.value.details}{caught.value.resolution}".lower()


def test_a_call_ends_at_its_deadline():
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=r"within 0\.2 s"):
        service(0.2).call("look for the nodes", lambda _client: time.sleep(5))
    assert time.monotonic() - began < 3


def test_what_is_missing_is_none_and_everything_else_an_error():
    asked = service()
    gone = failing(answer("InvalidGroup.NotFound"))
    assert asked.unless_missing("look for the group", gone) is None
    assert asked.unless_missing("look for the group", lambda _client: 7) == 7
    with pytest.raises(UnavailableError, match="rights"):
        asked.unless_missing("look", failing(answer("UnauthorizedOperation", 403)))
    with pytest.raises(UnavailableError, match="does not exist"):
        asked.call("look for the group", gone)
