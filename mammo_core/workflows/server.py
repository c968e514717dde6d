"""Starting the app: Streamlit on this machine only, with the project's own settings wherever it is called from."""

from __future__ import annotations

import importlib
import os
import threading

from mammo_core.settings import HOME_VARIABLE, PROJECT_ROOT, Workspace

FIRST_PAGE_NEEDS = (
    "mammo_core.workflows.supervisor",
    "mammo_core.workflows.overview",
    "mammo_core.workflows.housekeeping",
    "mammo_core.workflows.launch",
)
"""Imported while the browser still loads, so that the first page need not wait for pandas."""


def serve(workspace: Workspace, port: int, *, open_browser: bool) -> int:
    """Run the server in this process until it ends; returns its exit code.

    Streamlit reads ``.streamlit/config.toml`` of the working directory, so the server works in the project's folder.
    """
    os.chdir(PROJECT_ROOT)
    os.environ[HOME_VARIABLE] = str(workspace.home)
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
    from streamlit.web import cli

    options = ["--server.port", str(port), "--server.headless", "false" if open_browser else "true"]
    code = cli.main(["run", str(PROJECT_ROOT / "app.py"), *options], standalone_mode=False)
    return int(code or 0)


def _warm_up() -> None:
    for name in FIRST_PAGE_NEEDS:
        importlib.import_module(name)
