"""R14: the server as a stranger meets it - names, origins, sockets, headers, and what it asks of others.

Everything is asked over real sockets of an app started by its own command. The requests are written by hand: a library would
mend what is wrong on purpose.
"""

from __future__ import annotations

import json
import random
import socket
import string
import uuid
from dataclasses import dataclass
from pathlib import Path

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from mammo_core.settings import open_workspace
from reliability.app_process import RunningApp, running_app
from reliability.findings import Finding

HEADERS = (
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "permissions-policy",
)
CLOSED = (
    "/_stcore/metrics",
    "/_stcore/metrics/",
    "/_stcore/metrics?families=session_events",
    "/_stcore/script-health-check",
    "/_stcore/agent/openapi.json",
    "/_stcore/agent/interact",
)
OUTSIDE = (
    "/../../etc/passwd",
    "/static/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "//etc/passwd",
    "/media/..%2f..%2fx",
)
HOSTS = 40
"""Foreign names that are tried, in full 2,000."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(app: RunningApp, path: str, *lines: str, method: str = "GET", host: str | None = None, body: bytes = b"") -> Answer:
    """One HTTP/1.1 request, written out; ``host`` is sent as it stands."""
    own = f"localhost:{app.port}"
    head = [f"{method} {path} HTTP/1.1", f"Host: {own if host is None else host}", "Connection: close", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    with socket.create_connection(("127.0.0.1", app.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + body)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    top, _, content = received.partition(b"\r\n\r\n")
    first, *named = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in named)}
    return Answer(int(first.split(" ")[1]), headers, content)


def connects(app: RunningApp, origin: str | None, host: str | None = None, cookie: str = "") -> bool:
    """Whether a WebSocket with that origin and host gets through the handshake."""
    named = host or f"localhost:{app.port}"
    try:
        with (
            socket.create_connection(("127.0.0.1", app.port), timeout=30) as raw,
            connect(
                f"ws://{named}/_stcore/stream",
                sock=raw,
                origin=origin,  # type: ignore[arg-type]
                subprotocols=["streamlit"],  # type: ignore[list-item]
                additional_headers={"Cookie": cookie} if cookie else None,
                open_timeout=30,
            ),
        ):
            return True
    except InvalidStatus:
        return False


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    workspace = open_workspace(folder / "runs")
    with running_app(workspace) as app:
        found = [
            _listens(app),
            _names(app, 2000 if full else HOSTS, random.Random(seed)),
            _sockets(app),
            _uploads(app),
            _says(app),
            _doors(app),
        ]
        found.append(_asks_nobody(app))
    return found


def _finding(what: str, tried: int, problems: list[str]) -> Finding:
    return Finding("R14", what, f"{tried - len(problems)} of {tried}", not problems, tuple(problems))


def _listens(app: RunningApp) -> Finding:
    addresses = app.listening()
    problems = [f"listens on {address}:{port}" for address, port in addresses if (address, port) != ("127.0.0.1", app.port)]
    problems += [] if addresses else ["listens on nothing"]
    return _finding("addresses listened on that are this machine's own", max(1, len(addresses)), problems)


def _names(app: RunningApp, count: int, generator: random.Random) -> Finding:
    """A page can point a name of its own at 127.0.0.1; its requests then carry that name."""
    port = app.port
    foreign = ["", "evil.example", f"evil.example:{port}", f"localhost.evil.example:{port}", "0.0.0.0", f"[::1]:{port}"]
    foreign += [f"localhost@evil.example:{port}", f"evil.example@localhost:{port}", "localhost:port", "localhost:99999", "127.1"]
    foreign += [f"localhost:{port}, evil.example", f"localhost:{port}/", f"LOCALHOST.:{port}", f"localhost%00.evil:{port}"]
    letters = string.ascii_lowercase + string.digits + "-."
    foreign += ["".join(generator.choices(letters, k=generator.randint(1, 40))) + ".example" for _ in range(count)]
    problems = []
    for host in foreign:
        for path in ("/", "/_stcore/health"):
            status = ask(app, path, host=host).status
            if status not in (400, 421):
                problems.append(f"Host {host!r} got {status} for {path}")
    two = ask(app, "/", f"Host: localhost:{port}", host="evil.example")
    problems += [] if two.status in (400, 421) else [f"two Hosts got {two.status}"]
    ours = (f"localhost:{port}", f"127.0.0.1:{port}", f"LOCALHOST:{port}", "localhost")
    problems += [f"our own name {host} got {status}" for host in ours if (status := ask(app, "/", host=host).status) != 200]
    return _finding("requests refused under a foreign name, and taken under our own", 2 * len(foreign) + 1 + len(ours), problems)


def _sockets(app: RunningApp) -> Finding:
    port = app.port
    cases = [  # origin, host, whether it may connect
        (f"http://localhost:{port}", None, True),
        (f"http://127.0.0.1:{port}", f"127.0.0.1:{port}", True),
        (None, None, False),
        ("null", None, False),
        ("http://evil.example", None, False),
        ("http://evil.example", "evil.example", False),
        (f"http://evil.example:{port}", f"evil.example:{port}", False),
        (f"https://localhost:{port}", None, False),
        ("http://localhost", None, False),
        (f"http://localhost:{port + 1}", None, False),
        (f"http://localhost.evil.example:{port}", None, False),
        (f"http://127.0.0.1:{port}", None, False),
        ("file://", None, False),
        ("chrome-extension://abcdefgh", None, False),
    ]
    problems = [
        f"origin {origin}, host {host}: {'refused' if may else 'accepted'}"
        for origin, host, may in cases
        if connects(app, origin, host) != may
    ]
    return _finding("WebSockets accepted from our own pages and refused from any other", len(cases), problems)


def _uploads(app: RunningApp) -> Finding:
    """Also with the cookie that a page of another site could make the browser send."""
    boundary = "edge"
    body = f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="a.dcm"\r\n\r\nx\r\n--{boundary}--\r\n'.encode()
    kind = f"Content-Type: multipart/form-data; boundary={boundary}"
    path = f"/_stcore/upload_file/{uuid.UUID(int=1)}/{uuid.UUID(int=2)}"
    cookie = ask(app, "/_stcore/health").headers["set-cookie"].partition(";")[0]
    token = cookie.partition("=")[2]
    cases = [
        ("no token", (kind,), 403),
        ("cookie alone", (kind, f"Cookie: {cookie}"), 403),
        ("header alone", (kind, f"X-Xsrftoken: {token}"), 403),
        ("a wrong token", (kind, f"Cookie: {cookie}", "X-Xsrftoken: 2|0|0|0"), 403),
        ("a page of another site", (kind, f"Cookie: {cookie}", f"X-Xsrftoken: {token}", "Origin: http://evil.example"), 403),
        ("the token, but no session", (kind, f"Cookie: {cookie}", f"X-Xsrftoken: {token}"), 400),
    ]
    problems = [
        f"{what} got {status}"
        for what, lines, wanted in cases
        if (status := ask(app, path, *lines, method="PUT", body=body).status) != wanted
    ]
    strict = ask(app, "/_stcore/health").headers["set-cookie"].lower()
    problems += [] if "samesite=strict" in strict else ["the token's cookie is sent along from other sites"]
    return _finding("uploads refused without the page's own token", len(cases) + 1, problems)


def _says(app: RunningApp) -> Finding:
    problems = []
    for path in ("/", "/history", "/static/none.js", "/_stcore/health", "/_stcore/host-config", "/media/none", "/nowhere"):
        answer = ask(app, path)
        problems += [f"{path} ({answer.status}) lacks {name}" for name in HEADERS if name not in answer.headers]
    policy = ask(app, "/").headers.get("content-security-policy", "")
    scripts = next((part for part in policy.split("; ") if part.startswith("script-src")), "")
    problems += [f"scripts: {word}" for word in ("unsafe-inline", "http", "*") if word in scripts]
    problems += [] if "frame-ancestors 'none'" in policy else ["another site may frame the app"]
    cross = ask(app, "/_stcore/health", "Origin: http://evil.example")
    problems += [f"a page of another site was answered {cross.status}"] if cross.status != 403 else []
    config = json.loads(ask(app, "/_stcore/host-config").body)
    problems += ["host-config names origins"] if config["allowedOrigins"] else []
    return _finding("answers that carry the security headers", 7 * len(HEADERS) + 7, problems)


def _doors(app: RunningApp) -> Finding:
    problems = [f"{path} got {status}" for path in CLOSED if (status := ask(app, path).status) not in (404, 307)]
    for path in OUTSIDE:
        answer = ask(app, path)
        problems += [f"{path} gave a file"] if b"root:" in answer.body else []
    answers = [ask(app, path).body for path in (*CLOSED, *OUTSIDE, "/_stcore/host-config", "/_stcore/health", "/media/none")]
    home = str(app.watched.parent).encode()
    problems += ["an answer names a folder of this machine"] if any(home in body or b"/work" in body for body in answers) else []
    return _finding("doors for programs shut, files outside not given", len(CLOSED) + len(OUTSIDE) + 1, problems)


def _asks_nobody(app: RunningApp) -> Finding:
    """After all of the above, which makes Streamlit alone ask a server on the internet for its own address."""
    problems = [*app.tried(), *(f"open: {address}" for address in app.elsewhere())]
    problems += [] if app.watched_processes() else ["the watcher was not loaded"]
    return _finding("processes that spoke to nobody else", max(1, app.watched_processes()), problems)
