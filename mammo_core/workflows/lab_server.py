"""The lab-server mode: one app for several people behind a proxy, open only to those who signed in and stand on a list.

Off unless the app is started with a settings file. Signing in proves who somebody is; the list decides whether they may come
in. The file is read again whenever it changes, so a name that is taken off the list is out within seconds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pydantic

from mammo_core.errors import ConfigError
from mammo_core.settings import Workspace

LAB_VARIABLE = "MAMMOTRACE_LAB_SERVER"
"""Names the settings file to the pages; absent where the app is a desktop program."""
ACCESS_LOG = "access.log"
CALLBACK = "/oauth2callback"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SHORTEST_SECRET = 32
"""Characters of the key that signs the cookies."""
CLOCKS_DIFFER_SECONDS = 300.0
"""By which the clock of the provider may be ahead of ours."""

NOT_SIGNED_IN = "Nobody has signed in."
EXPIRED = "Your session has ended; sign in again."
NO_EMAIL = "The sign-in service gave no e-mail address, so nobody can be looked up on the list of this server."
NOT_VERIFIED = "The sign-in service does not confirm that the e-mail address is yours."
NOT_LISTED = "This address is not on the list of this server. Ask the person who runs it."
NOT_IN_GROUP = "This account is in none of the groups that this server is open to. Ask the person who runs it."
SIGN_IN_HELPS = frozenset({NOT_SIGNED_IN, EXPIRED})


class _Section(pydantic.BaseModel):
    """``[lab_server]`` of the settings file; a key that it does not know is an error."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    hosts: list[str] = pydantic.Field(min_length=1)
    allowed_emails: list[str] = []
    allowed_domains: list[str] = []
    required_groups: list[str] = []
    groups_claim: str = "groups"
    address: str = "127.0.0.1"
    session_hours: float = pydantic.Field(default=10.0, gt=0, le=168)
    email_always_verified: bool = False


@dataclass(frozen=True, kw_only=True)
class LabServer:
    """Who may come in, and under which name the server is reached."""

    origin: str
    """Scheme, host and port that stand in the browser's address bar."""
    hosts: frozenset[str]
    address: str
    """Listened on; nowhere else."""
    emails: frozenset[str]
    domains: frozenset[str]
    required_groups: frozenset[str]
    """Where any are given, a person on the list must also be in one of them."""
    groups_claim: str
    session_seconds: float
    email_always_verified: bool
    """For a provider that checks its addresses and says so nowhere (no claim ``email_verified``)."""
    providers: tuple[str | None, ...]
    """Named sections of ``[auth]``; ``None`` is ``[auth]`` itself."""

    def refusal(self, claims: Mapping[str, Any], now: float) -> str | None:
        """Why the person with these claims may not come in; ``None`` where they may.

        Parameters
        ----------
        claims : claims of the ID token, and ``is_logged_in`` as Streamlit adds it
        now : seconds since 1970
        """
        if claims.get("is_logged_in") is not True:
            return NOT_SIGNED_IN
        issued = claims.get("iat")
        if isinstance(issued, bool) or not isinstance(issued, int | float):
            return EXPIRED
        if not -CLOCKS_DIFFER_SECONDS <= now - issued < self.session_seconds:
            return EXPIRED
        email = email_of(claims)
        if email is None:
            return NO_EMAIL
        verified = claims.get("email_verified")
        if not (self.email_always_verified or verified is True or verified == "true"):
            return NOT_VERIFIED
        if email not in self.emails and email.rpartition("@")[2] not in self.domains:
            return NOT_LISTED
        return None if self._in_group(claims) else NOT_IN_GROUP

    def _in_group(self, claims: Mapping[str, Any]) -> bool:
        if not self.required_groups:
            return True
        groups = claims.get(self.groups_claim)
        named = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return any(isinstance(name, str) and name in self.required_groups for name in named)


def email_of(claims: Mapping[str, Any]) -> str | None:
    """The address in lower case; ``None`` where there is none that can be compared letter by letter."""
    email = claims.get("email")
    if not isinstance(email, str) or not email.isascii():  # before lower(), which makes a k of the Kelvin sign
        return None
    email = email.strip().lower()
    name, _, domain = email.rpartition("@")
    return email if name and domain and email.isprintable() and " " not in email else None


# ---- the settings file ------------------------------------------------------------------------------------------------------


def read_lab_server(path: Path) -> LabServer:
    """Read and check the settings file: nothing is started on half of them.

    Raises
    ------
    ConfigError
        The file cannot be read, others may read it, or anything that the mode needs is missing or weak.
    """
    try:
        content = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"The lab server's settings file {path.name} cannot be read ({error.strerror}).") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"{path.name} holds secrets and other accounts of this machine may read or change it; expected a file for its "
            f"owner only. Run: chmod 600 {path.name}"
        )
    try:
        raw = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name} is no TOML file ({error}); docs/lab_server.md shows one.") from error
    return _checked(raw, path.name)


def _checked(raw: Mapping[str, Any], name: str) -> LabServer:
    auth = raw.get("auth")
    if not isinstance(auth, dict) or not isinstance(raw.get("lab_server"), dict):
        raise ConfigError(f"{name} needs the sections [auth] (the sign-in service) and [lab_server] (hosts and the list).")
    try:
        section = _Section.model_validate(raw["lab_server"])
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{name}: [lab_server] {where}: {first['msg']}. docs/lab_server.md lists the keys.") from error
    origin = _origin(auth, name)
    hosts = frozenset(host.strip().lower() for host in section.hosts)
    if origin.hostname not in hosts:
        raise ConfigError(f"{name}: hosts must name {origin.hostname}, the host of redirect_uri; found {sorted(hosts)}.")
    emails, domains = _allowed(section, name)
    return LabServer(
        origin=f"{origin.scheme}://{origin.netloc}".lower(),
        hosts=hosts,
        address=section.address,
        emails=emails,
        domains=domains,
        required_groups=frozenset(section.required_groups),
        groups_claim=section.groups_claim,
        session_seconds=section.session_hours * 3600.0,
        email_always_verified=section.email_always_verified,
        providers=_providers(auth, name),
    )


def _origin(auth: Mapping[str, Any], name: str) -> SplitResult:
    """Where the sign-in service sends the browser back to: https, or this machine itself for a trial."""
    given = auth.get("redirect_uri")
    found = urlsplit(given if isinstance(given, str) else "")
    safe = found.scheme == "https" or (found.scheme == "http" and found.hostname in LOOPBACK)
    if not safe or not found.hostname or found.path != CALLBACK or found.username is not None or found.query:
        raise ConfigError(
            f"{name}: redirect_uri is {given!r}; expected https://HOST{CALLBACK}, the address that people type "
            "(http only for localhost)."
        )
    secret = auth.get("cookie_secret")
    if not isinstance(secret, str) or len(secret) < SHORTEST_SECRET or len(set(secret)) < 10:
        raise ConfigError(
            f"{name}: cookie_secret must be at least {SHORTEST_SECRET} random characters, or anybody could sign a cookie. "
            'Make one with: python -c "import secrets; print(secrets.token_hex(32))"'
        )
    return found


def _providers(auth: Mapping[str, Any], name: str) -> tuple[str | None, ...]:
    sections: dict[str | None, Mapping[str, Any]] = {
        key: value for key, value in auth.items() if isinstance(value, dict) and key != "client_kwargs"
    }
    if "client_id" in auth or not sections:
        sections[None] = auth
    for provider, section in sections.items():
        where = "[auth]" if provider is None else f"[auth.{provider}]"
        for key in ("client_id", "client_secret", "server_metadata_url"):
            if not isinstance(section.get(key), str) or not section[key].strip():
                raise ConfigError(f"{name}: {where} lacks {key}; the sign-in service (OpenID Connect) gives it.")
        address = urlsplit(section["server_metadata_url"])
        if address.scheme != "https" and address.hostname not in LOOPBACK:
            raise ConfigError(f"{name}: {where} server_metadata_url must begin with https://.")
        if provider is not None and "_" in provider:
            raise ConfigError(f"{name}: {where}: a provider's name may hold no underscore.")
    return tuple(sections)


def _allowed(section: _Section, name: str) -> tuple[frozenset[str], frozenset[str]]:
    emails = [email_of({"email": email}) for email in section.allowed_emails]
    domains = [domain.strip().lower() for domain in section.allowed_domains]
    wrong = [given for given, email in zip(section.allowed_emails, emails, strict=True) if email is None]
    wrong += [
        domain for domain in domains if not domain or not domain.isascii() or set(domain) & set("@*/ ") or "." not in domain
    ]
    if wrong:
        raise ConfigError(
            f"{name}: {wrong[0]!r} is no address or domain; expected allowed_emails like anna@lab.example and "
            "allowed_domains like lab.example, without @ and *."
        )
    if not emails and not domains:
        raise ConfigError(f"{name}: [lab_server] lets nobody in; give allowed_emails or allowed_domains.")
    return frozenset(email for email in emails if email is not None), frozenset(domains)


def require_sign_in_packages() -> None:
    """Refuse to start where signing in could not work.

    Raises
    ------
    ConfigError
        Authlib or httpx is not installed.
    """
    for module in ("authlib", "httpx"):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                "The lab server needs the packages that sign people in, and they are not installed. "
                "Install them with: pip install -r requirements-lab.txt"
            )


# ---- while the app runs -----------------------------------------------------------------------------------------------------


def is_lab_server() -> bool:
    """Whether this process serves several people."""
    return LAB_VARIABLE in os.environ


def current_lab_server() -> LabServer:
    """The settings as they stand on the disk now.

    Raises
    ------
    ConfigError
        They can no longer be used; nobody may come in then.
    """
    path = Path(os.environ[LAB_VARIABLE])
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"The lab server's settings file cannot be read ({error.strerror}).") from error
    return _read_once(path, found.st_mtime_ns, found.st_size, found.st_mode)


@lru_cache(maxsize=2)
def _read_once(path: Path, _changed_ns: int, _size: int, _mode: int) -> LabServer:
    return read_lab_server(path)


def note_access(workspace: Workspace, event: str, claims: Mapping[str, Any], **more: str) -> None:
    """Add one line to ``access.log``: who signed in, was turned away or asked for work. For its owner's eyes only."""
    line = {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, "email": email_of(claims) or "", **more}
    descriptor = os.open(workspace.home / ACCESS_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
