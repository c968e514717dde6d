"""Starting the app: Streamlit on this machine only, with the project's own settings wherever it is called from.

What guards the app is set here and not only in ``.streamlit/config.toml``: a settings file of the user's home or an environment
variable could otherwise open it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import os
import re
import signal
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from mammo_core.settings import HOME_VARIABLE, PROJECT_ROOT, Workspace
from mammo_core.workflows.http_guard import USER_COOKIES, Door, HttpGuard
from mammo_core.workflows.lab_server import (
    LAB_VARIABLE,
    LabServer,
    current_lab_server,
    read_lab_server,
    require_sign_in_packages,
)

FIRST_PAGE_NEEDS = (
    "mammo_core.workflows.supervisor",
    "mammo_core.workflows.overview",
    "mammo_core.workflows.housekeeping",
    "mammo_core.workflows.launch",
)
"""Imported while the browser still loads, so that the first page need not wait for pandas."""
HERE = "127.0.0.1"
HERE_NAMES = ("localhost", HERE)


def serve(workspace: Workspace, port: int, *, open_browser: bool, lab_server: Path | None = None) -> int:
    """Run the server in this process until it ends; returns its exit code.

    Streamlit reads ``.streamlit/config.toml`` of the working directory, so the server works in the project's folder.

    Parameters
    ----------
    lab_server : settings file of a server for several people; ``None`` for the desktop program

    Raises
    ------
    ConfigError
        The settings file lets the mode not be started.
    """
    lab = None
    os.environ.pop(LAB_VARIABLE, None)
    if lab_server is not None:
        path = lab_server.expanduser().resolve()
        lab = read_lab_server(path)
        require_sign_in_packages()
        os.environ[LAB_VARIABLE] = str(path)
        os.umask(0o077)  # what it writes is for its own account
    os.chdir(PROJECT_ROOT)
    os.environ[HOME_VARIABLE] = str(workspace.home)
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
    _leave_on_signals()
    if lab is not None:
        from mammo_core.workflows.supervisor import ensure_supervisor

        ensure_supervisor(workspace)  # a desktop starts it with its first page; here nobody need be signed in
    _run(port, lab, open_browser)
    return 0


def _run(port: int, lab: LabServer | None, open_browser: bool) -> None:
    import streamlit as st
    from starlette.middleware import Middleware
    from streamlit.runtime.pages_manager import PagesManager

    PagesManager.uses_pages_directory = False  # or the first visitor's URL would run a page without app.py
    script = str(PROJECT_ROOT / "app.py")
    sys.argv = [script]  # its folder goes on the path, as `streamlit run` does it
    sys.path.insert(0, str(PROJECT_ROOT))

    @contextlib.asynccontextmanager
    async def started(_app: object) -> AsyncIterator[None]:
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(f"http://localhost:{port}",), daemon=True).start()
        yield

    guard = Middleware(HttpGuard, door=_door(lab))
    st.App(script, middleware=[guard], lifespan=started).run(config=server_settings(port, lab))


def server_settings(port: int, lab: LabServer | None) -> dict[str, Any]:
    """Streamlit's settings that must hold whatever else is configured on this machine."""
    return {
        "server.port": port,
        "server.address": HERE if lab is None else lab.address,
        "server.allowedHosts": list(HERE_NAMES) if lab is None else sorted(lab.hosts),
        "server.baseUrlPath": "",
        "server.headless": True,
        "server.enableCORS": True,
        "server.corsAllowedOrigins": [],
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.enableAgentApi": False,
        "server.scriptHealthCheckEnabled": False,
        "server.trustedUserHeaders": {},
        "server.fileWatcherType": "none",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.allowedOrigins": [],  # sites of Streamlit's makers that may steer an app they frame
        "browser.gatherUsageStats": False,
        "secrets.files": [] if lab is None else [os.environ[LAB_VARIABLE]],
    }


def _door(lab: LabServer | None) -> Door:
    scripts = inline_scripts()
    if lab is None:
        return Door(hosts=frozenset(HERE_NAMES), inline_scripts=scripts)
    return Door(
        hosts=lab.hosts,
        origin=lab.origin,
        lab=current_lab_server,
        claims=lambda cookies: signed_in_claims(cookies, lab.origin),
        inline_scripts=scripts,
    )


def inline_scripts() -> tuple[str, ...]:
    """Hashes of the scripts in Streamlit's own page, which alone may stand in a page (Content Security Policy 3, 6.7.3)."""
    import streamlit

    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    found = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    return tuple(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in found)


def signed_in_claims(cookies: Mapping[str, str], origin: str) -> Mapping[str, Any]:
    """Who the signed cookie says is signed in, read as Streamlit reads it; empty where nobody is."""
    from streamlit.web.server.starlette import starlette_websocket as sockets

    raw = sockets._get_signed_cookie_with_chunks(dict(cookies), USER_COOKIES)
    return dict(sockets._parse_decoded_user_cookie(raw, origin)) if raw else {}


def _leave_on_signals() -> None:
    """End with exit code 0 when asked to: the web server, once it has closed its connections, hands the signal on to this."""

    def leave(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)


def _warm_up() -> None:
    for name in FIRST_PAGE_NEEDS:
        importlib.import_module(name)
