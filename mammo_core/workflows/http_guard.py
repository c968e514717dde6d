"""In front of every request to the app: who may speak to it, and what the browser is told about its answers.

Plain ASGI around Streamlit's own server, because Streamlit looks at names only when a page connects, takes any port of this
machine for its own, lets clients through that name no origin, and, asked by a page of another site, first asks a server on the
internet what its own address is. Refused here, nothing of that is reached.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from mammo_core.errors import MammoError
from mammo_core.workflows.lab_server import LabServer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Claims = Callable[[Mapping[str, str]], Mapping[str, Any]]
"""Cookies of a request -> claims of who is signed in; empty where nobody is."""

CLOSED = ("/_stcore/metrics", "/_stcore/script-health-check", "/_stcore/agent")
"""Streamlit's doors for programs; nobody here uses them."""
FOR_PEOPLE = ("/media/", "/_stcore/upload_file/")
"""Films and uploads; on a lab server only for those who are in."""
SIGN_OUT = "/auth/logout"
USER_COOKIES = "_streamlit_user"
POLICY_VIOLATION = 1008


@dataclass(frozen=True, kw_only=True)
class Door:
    """By which names the app is reached, and who may come in."""

    hosts: frozenset[str]
    origin: str | None = None
    """What the browser's address bar shows; ``None``: plain http at the host and port that the request names."""
    lab: Callable[[], LabServer] | None = None
    """The settings as they stand now; ``None`` on a desktop."""
    claims: Claims | None = None
    inline_scripts: tuple[str, ...] = ()
    """Hashes of the scripts that stand in Streamlit's own page, as a content security policy names them."""


@dataclass
class HttpGuard:
    """The app behind a :class:`Door`."""

    app: App
    door: Door
    signed_out: dict[tuple[str, str], float] = field(default_factory=dict)
    """Sessions that were ended by their owner, and when: a copy of their cookie is worth nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = _headers(scope)
        host, status = self._host(scope), 0
        if host is None:
            status = 421
        elif not self._same_origin(scope, headers.get("origin"), host):
            status = 403
        elif scope["path"].startswith(CLOSED):
            status = 404
        if status:
            await _refuse(scope, receive, send, status)
        elif scope["type"] == "http":
            await self._http(scope, receive, send, str(host))
        else:
            await self._websocket(scope, receive, send)

    def _host(self, scope: Scope) -> str | None:
        """The ``Host`` that the request names, where it is one of ours; a page of another site can point its own name here."""
        found = [value for name, value in scope["headers"] if name == b"host"]
        if len(found) != 1:
            return None
        host = found[0].decode("latin-1").lower()
        try:
            named = urlsplit(f"//{host}")
            named.port  # noqa: B018 - a port that is no number is an error
        except ValueError:
            return None
        return host if named.netloc == host and "@" not in host and named.hostname in self.door.hosts else None

    def _same_origin(self, scope: Scope, origin: str | None, host: str) -> bool:
        """A page of ours, or a request that browsers send without an origin. A connection that names none is no page of ours."""
        if origin is None:
            return bool(scope["type"] == "http")
        return origin.lower() == (self.door.origin or f"http://{host}")

    async def _http(self, scope: Scope, receive: Receive, send: Send, host: str) -> None:
        path = scope["path"]
        if self.door.lab is not None:
            if path == SIGN_OUT:
                self._end_session(scope)
            elif path.startswith(FOR_PEOPLE) and not self._admits(self._claims(scope)):
                await _refuse(scope, receive, send, 403)
                return
        named = [*security_headers(self.door, host), *((b"cache-control", b"no-store") for _ in [0] if self._private(path))]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _replaced(message.get("headers", ()), named, secure=self._is_https())
            await send(message)

        await self.app(scope, receive, answer)

    def _private(self, path: str) -> bool:
        """Films must not stay in the browser's cache on a desk that several people use."""
        return self.door.lab is not None and path.startswith("/media/")

    def _is_https(self) -> bool:
        return (self.door.origin or "").startswith("https:")

    # ---- a lab server -------------------------------------------------------------------------------------------------------

    def _claims(self, scope: Scope) -> Mapping[str, Any]:
        if self.door.claims is None:
            return {}
        claims = self.door.claims(HTTPConnection(scope).cookies)
        return {} if _session(claims) in self.signed_out else claims

    def _admits(self, claims: Mapping[str, Any]) -> bool:
        try:
            return self.door.lab is None or self.door.lab().refusal(claims, time.time()) is None
        except MammoError:
            return False  # settings that cannot be read let nobody in

    def _end_session(self, scope: Scope) -> None:
        claims = self._claims(scope)
        if claims:
            now = time.time()
            self.signed_out[_session(claims)] = now
            month = 32 * 86400.0  # a cookie is worth nothing afterwards
            self.signed_out = {session: at for session, at in self.signed_out.items() if now - at < month}

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A page's connection; on a lab server each of its messages is looked at again, and one of a person who was let in and
        no longer may closes it.

        Who is not let in gets a session of their own, in which nothing but the sign-in page is ever drawn: parts of a page that
        an earlier session drew could otherwise be asked for without the page itself.
        """
        if self.door.lab is None:
            await self.app(scope, receive, send)
            return
        claims = self._claims(scope)
        was_in = self._admits(claims)
        ended = False

        async def watched() -> Message:
            nonlocal was_in, ended
            message = await receive()
            if message["type"] == "websocket.receive":
                is_in = self._admits(self._unless_signed_out(claims))
                ended = was_in and not is_in
                was_in = is_in
            if ended:
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
                return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
            return message

        async def unless_ended(message: Message) -> None:
            if not ended:
                await send(message)

        await self.app(scope if was_in else _fresh(scope, without_user=not claims), watched, unless_ended)

    def _unless_signed_out(self, claims: Mapping[str, Any]) -> Mapping[str, Any]:
        return {} if _session(claims) in self.signed_out else claims


def security_headers(door: Door, host: str) -> list[tuple[bytes, bytes]]:
    """What every answer carries: scripts, styles, pictures and data come from the app itself and go nowhere else.

    ``blob:`` scripts are those of the film viewer. ``connect-src`` names the socket's address as well: older browsers do not
    count it to ``'self'``.
    """
    https = (door.origin or "").startswith("https:")
    policy = "; ".join(
        (
            "default-src 'self'",
            " ".join(("script-src 'self' blob:", *door.inline_scripts)),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            f"connect-src 'self' {'wss' if https else 'ws'}://{host}",
            "worker-src 'self' blob:",
            "media-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
    }
    if https:
        headers["strict-transport-security"] = "max-age=31536000"
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _replaced(
    headers: Iterable[tuple[bytes, bytes]], named: list[tuple[bytes, bytes]], secure: bool
) -> list[tuple[bytes, bytes]]:
    ours = {name for name, _ in named}
    kept = [(name, value) for name, value in headers if name.lower() not in ours]
    if secure:
        kept = [
            (name, value + b"; Secure" if name.lower() == b"set-cookie" and b"secure" not in value.lower() else value)
            for name, value in kept
        ]
    return kept + named


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int) -> None:
    """Say no without saying why: who asks wrongly learns nothing of the app."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    headers = [(b"content-type", b"text/plain"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"Refused"})


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _session(claims: Mapping[str, Any]) -> tuple[str, str]:
    """One sign-in of one person."""
    return (f"{claims.get('iss')} {claims.get('sub')}", str(claims.get("iat")))


def _fresh(scope: Scope, without_user: bool) -> Scope:
    """The same request without the session that it wants back, and without the cookie of a session that was ended."""
    headers = []
    for name, value in scope["headers"]:
        if name == b"sec-websocket-protocol":
            value = b",".join(value.split(b",")[:2])
        elif name == b"cookie" and without_user:
            value = b";".join(part for part in value.split(b";") if not part.strip().startswith(USER_COOKIES.encode()))
        headers.append((name, value))
    return {**scope, "headers": headers, "subprotocols": list(scope.get("subprotocols", ()))[:2]}
