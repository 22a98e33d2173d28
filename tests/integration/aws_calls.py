"""What is asked of AWS while the tests run: the rights that it takes.

Recorded at the service, so that it does not matter who asks: the command, Terraform's provider,
Packer, or a script on a node. Each process that runs tests has a folder, and each part of them a
file in it, a line an action; ``test_rights`` reads them all when the others are over.
"""

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import parse_qs

RECORDED = Path(__file__).parents[2] / ".cache" / "aws-calls"

App = Callable[[dict, Callable], Iterable[bytes]]

#: ``AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, …``.
_SCOPE = re.compile(r"Credential=([^/]+)/\d{8}/[^/]+/([a-z0-9-]+)/aws4_request")
#: The right that a request for an object, and for a bucket, takes, by method.
_OBJECT = {
    "GET": "GetObject",
    "HEAD": "GetObject",
    "PUT": "PutObject",
    "POST": "PutObject",  # begins and ends an upload in parts
    "DELETE": "DeleteObject",
}
_BUCKET = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "POST": "DeleteObject"}
#: The same where the query names something besides.
_NAMED = {
    ("GET", "versions"): "ListBucketVersions",
    ("GET", "uploads"): "ListBucketMultipartUploads",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("DELETE", "versionId"): "DeleteObjectVersion",
    ("PUT", "versioning"): "PutBucketVersioning",
}

#: Access key of the tests' own requests, which nobody needs a right for.
OURS = "AKIAONLYFORTESTSOURS"


def recording(app: App, actions: list[str], file: Path | None) -> App:
    """The same service, with what others than the tests ask for written down.

    :param actions: gets them all, in order.
    :param file: gets each once, a line each.
    """
    noted: set[str] = set()

    def recorded(environ: dict, start: Callable) -> Iterable[bytes]:
        action = action_of(environ)
        if action is not None:
            if file is not None and action not in noted:
                noted.add(action)
                with file.open("a", encoding="utf-8") as out:
                    out.write(f"{action}\n")
            actions.append(action)
        return app(environ, start)

    return recorded


def action_of(environ: dict) -> str | None:
    """``service:Action`` as IAM calls it; ``None`` if nobody signed it, or the tests did."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None or scope.group(1) == OURS:
        return None
    service = scope.group(2)
    if service == "s3":
        return _s3(environ)
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target is not None:
        return f"{service}:{target.rpartition('.')[2]}"
    return f"{service}:{_form(environ)['Action'][0]}"


def _s3(environ: dict) -> str:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    bucket, _, key = path.strip("/").partition("/")
    what = (_OBJECT if key else _BUCKET).get(method)
    for name in parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True):
        what = _NAMED.get((method, name), what)
    if what is None or not bucket:
        raise AssertionError(f"no name for {method} {path}?{environ.get('QUERY_STRING')}")
    return f"s3:{what}"


def _form(environ: dict) -> dict[str, list[str]]:
    """The body, which can be read again afterwards."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return parse_qs(body.decode())
