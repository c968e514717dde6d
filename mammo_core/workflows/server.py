"""Starting the app: Streamlit on this machine only, with the project's own settings wherever it is called from."""

from __future__ import annotations

import os
import subprocess
import sys

from mammo_core.settings import HOME_VARIABLE, PROJECT_ROOT, Workspace


def serve(workspace: Workspace, port: int, *, open_browser: bool) -> int:
    """Run the server until it ends; returns its exit code.

    Streamlit reads ``.streamlit/config.toml`` of the working directory, so the server runs in the project's folder.
    """
    command = [sys.executable, "-m", "streamlit", "run", str(PROJECT_ROOT / "app.py"), "--server.port", str(port)]
    command += ["--server.headless", "false" if open_browser else "true"]
    try:
        environment = {**os.environ, HOME_VARIABLE: str(workspace.home)}
        return subprocess.run(command, cwd=PROJECT_ROOT, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 0
