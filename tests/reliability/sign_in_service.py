"""A small OpenID Connect provider on loopback, so that a sign-in really happens: code flow with PKCE, signed ID tokens.

After OpenID Connect Core 1.0, sections 3.1.2 to 3.1.3, and OpenID Connect Discovery 1.0. Who signs in is set by the test.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = "mammotrace"
CLIENT_SECRET = "client-secret-of-the-test"
KEY = {"kid": "one", "use": "sig", "alg": "RS256"}


@dataclass
class SignInService:
    """What the provider says of the person at the browser."""

    url: str
    person: dict[str, Any]
    """Claims of the next ID token, beside those that every token has."""
    issued_ago: float = 0.0
    """Seconds by which the next token is older than now."""
    key: RSAKey = field(
        default_factory=lambda: RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig", "alg": "RS256"})
    )
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Code -> what was asked for with it; good once."""

    def code_for(self, asked: dict[str, str]) -> str:
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return code

    def token_for(self, asked: dict[str, str]) -> dict[str, Any]:
        now = int(time.time() - self.issued_ago)
        claims = {"iss": self.url, "aud": CLIENT, "sub": "one", "iat": now, "exp": now + 7 * 86400, "nonce": asked["nonce"]}
        token = jwt.encode({"alg": "RS256", "kid": "one"}, {**claims, **self.person}, self.key)
        return {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": 3600, "id_token": token}


class Server(ThreadingHTTPServer):
    service: SignInService


class Answers(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing on stderr."""

    def do_GET(self) -> None:
        service, address = self.server.service, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path == "/.well-known/openid-configuration":
            self.say(_discovery(service.url))
        elif address.path == "/keys":
            self.say({"keys": [service.key.as_dict(private=False)]})
        elif address.path == "/authorize":
            self.go_to(f"{query['redirect_uri']}?{urlencode({'code': service.code_for(query), 'state': query['state']})}")
        elif address.path == "/logout":
            self.go_to(query["post_logout_redirect_uri"])
        else:
            self.say({"error": "not found"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        asked = self.server.service.codes.pop(form.get("code", ""), None)
        if asked is None or not self.is_client(form) or not _proves(form, asked):
            self.say({"error": "invalid_grant"}, 400)
        else:
            self.say(self.server.service.token_for(asked))

    def is_client(self, form: dict[str, str]) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        basic = base64.b64decode(given).decode() if given else f"{form.get('client_id')}:{form.get('client_secret')}"
        return basic == f"{CLIENT}:{CLIENT_SECRET}"

    def say(self, value: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def go_to(self, url: str) -> None:
        self.send_response(302)
        self.send_header("Location", url)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def sign_in_service(**person: Any) -> Iterator[SignInService]:
    server = Server(("127.0.0.1", 0), Answers)
    server.service = SignInService(f"http://127.0.0.1:{server.server_port}", person)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _discovery(url: str) -> dict[str, Any]:
    return {
        "issuer": url,
        "authorization_endpoint": f"{url}/authorize",
        "token_endpoint": f"{url}/token",
        "jwks_uri": f"{url}/keys",
        "end_session_endpoint": f"{url}/logout",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
    }


def _proves(form: dict[str, str], asked: dict[str, str]) -> bool:
    """RFC 7636: who fetches the token is who asked for the code."""
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked.get("code_challenge")
