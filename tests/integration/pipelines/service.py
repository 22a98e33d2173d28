"""The part of a code host's API that the workflows call, on loopback: GitHub's and GitLab's."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "cloud/zones"
#: How many a page holds, whatever is asked for: pages have to be turned.
PAGE = 100


@dataclass
class Service:
    """What the host holds.

    :ivar tokens: header and value that let in, and the name of the user they stand for.
    :ivar comments: of one pull request, each with ``id``, ``author`` and ``body``.
    :ivar files: artefacts: by id of GitHub, by ref, job and path of GitLab.
    :ivar leaked: what was let through to the store of artefacts, which must get no token.
    """

    tokens: dict[tuple[str, str], str]
    comments: list[dict] = field(default_factory=list)
    pulls: list[dict] = field(default_factory=list)
    runs: list[dict] = field(default_factory=list)
    artefacts: list[dict] = field(default_factory=list)
    files: dict[object, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def user(self, headers) -> str | None:
        """Whose request it is."""
        known = ((headers.get(name), user) for (name, _), user in self.tokens.items())
        values = {value: user for (_, value), user in self.tokens.items()}
        return next((user for value, user in known if values.get(value) == user), None)

    def write(self, author: str, body: str) -> dict:
        """A comment of somebody."""
        comment = {"id": 1000 + len(self.comments), "author": author, "body": body}
        self.comments.append(comment)
        return comment

    def by(self, author: str) -> list[str]:
        """Bodies of somebody's comments."""
        return [c["body"] for c in self.comments if c["author"] == author]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    service: Service

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        place = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(place.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.service.requests.append((method, place.path))
        if place.path.startswith("/blob/"):
            self.service.leaked += [
                h for h in ("Authorization", "PRIVATE-TOKEN") if h in self.headers
            ]
            self._send(200, self.service.files[int(place.path.removeprefix("/blob/"))])
            return
        user = self.service.user(self.headers)
        if user is None:
            self._send(401, b'{"message": "Bad credentials"}')
            return
        status, answer = route(self.service, user, f"{method} {place.path}", query, body)
        if status == 302:
            self.send_response(302)
            self.send_header("Location", str(answer))
            self.end_headers()
            return
        self._send(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def route(
    service: Service, user: str, request: str, query: dict[str, str], body: bytes
) -> tuple[int, object]:
    """Status and answer of a request."""
    for pattern, answer in (*GITHUB, *GITLAB):
        match = re.fullmatch(pattern, request)
        if match:
            return answer(service, user, match, query, json.loads(body) if body else {})
    return 404, {"message": f"no such thing: {request}"}


def _page(items: list, query: dict[str, str]) -> list:
    first = PAGE * (int(query.get("page", 1)) - 1)
    return items[first : first + PAGE]


# GitHub


def _github(comment: dict) -> dict:
    url = f"https://example.org/comment/{comment['id']}"
    return {**comment, "user": {"login": comment["author"]}, "html_url": url}


def _list(service, _user, _match, query, _body):
    return 200, [_github(comment) for comment in _page(service.comments, query)]


def _post(service, user, _match, _query, body):
    return 201, _github(service.write(user, body["body"]))


def _patch(service, _user, match, _query, body):
    comment = next(c for c in service.comments if c["id"] == int(match["id"]))
    comment["body"] = body["body"]
    return 200, _github(comment)


def _pulls(service, _user, match, _query, _body):
    shas = ("merge_commit_sha", "head_sha")
    found = [p for p in service.pulls if match["sha"] in [p.get(key) for key in shas]]
    return 200, [{**p, "base": {"ref": p["base"]}, "head": {"sha": p["head_sha"]}} for p in found]


def _runs(service, _user, match, query, _body):
    found = [
        {**run, "head_repository": {"full_name": run["from"]}}
        for run in service.runs
        if run["workflow"] == match["workflow"]
        and run["head_sha"] == query["head_sha"]
        and run["event"] == query["event"]
    ]
    return 200, {"workflow_runs": found}


def _artefacts(service, _user, match, query, _body):
    found = [
        a for a in service.artefacts if a["run"] == int(match["run"]) and a["name"] == query["name"]
    ]
    return 200, {"artifacts": found}


def _zip(service, _user, match, _query, _body):
    # Another host, as the real one has it.
    return 302, f"http://localhost:{service.port}/blob/{match['id']}"


_REPO = f"/repos/{REPOSITORY}"
GITHUB = (
    (rf"GET {_REPO}/issues/7/comments", _list),
    (rf"POST {_REPO}/issues/7/comments", _post),
    (rf"PATCH {_REPO}/issues/comments/(?P<id>\d+)", _patch),
    (rf"GET {_REPO}/commits/(?P<sha>\w+)/pulls", _pulls),
    (rf"GET {_REPO}/actions/workflows/(?P<workflow>[\w.-]+)/runs", _runs),
    (rf"GET {_REPO}/actions/runs/(?P<run>\d+)/artifacts", _artefacts),
    (rf"GET {_REPO}/actions/artifacts/(?P<id>\d+)/zip", _zip),
)

# GitLab


def _gitlab(comment: dict) -> dict:
    return {**comment, "author": {"username": comment["author"]}}


def _user(_service, user, _match, _query, _body):
    return 200, {"username": user}


def _notes(service, _user, _match, query, _body):
    return 200, [_gitlab(comment) for comment in _page(service.comments, query)]


def _note(service, user, _match, _query, body):
    return 201, _gitlab(service.write(user, body["body"]))


def _merge_requests(service, user, match, _query, _body):
    if user == "job":
        return 403, {"message": "403 Forbidden"}
    shas = ("merge_commit_sha", "squash_commit_sha", "sha")
    return 200, [p for p in service.pulls if match["sha"] in [p.get(key) for key in shas]]


def _raw(service, _user, match, query, _body):
    ref = match["ref"].replace("%2F", "/")
    found = service.files.get((ref, query["job"], match["path"]))
    return (200, found) if found is not None else (404, {"message": "404 Not Found"})


GITLAB = (
    (r"GET /user", _user),
    (r"GET /projects/42/merge_requests/7/notes", _notes),
    (r"POST /projects/42/merge_requests/7/notes", _note),
    (r"PUT /projects/42/merge_requests/7/notes/(?P<id>\d+)", _patch),
    (r"GET /projects/42/repository/commits/(?P<sha>\w+)/merge_requests", _merge_requests),
    (r"GET /projects/42/jobs/artifacts/(?P<ref>[^/]+)/raw/(?P<path>[\w.]+)", _raw),
)


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    """The service on loopback; gone when the block is left."""
    handler = type("Bound", (Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
