"""What a run was made with: package versions, machine, code version and command."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from typing import Any

from mammo_core.settings import PROJECT_ROOT

RECORDED_PACKAGES = (
    *("torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "scipy", "scikit-image", "pillow"),
    *("pydicom", "pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "python-gdcm", "pyjpegls"),
    *("grad-cam", "streamlit", "altair"),
)


def git_state() -> dict[str, Any]:
    """Commit and whether files differ from it; both ``None`` where the app does not lie in a git checkout."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": commit, "git_dirty": None if status is None else bool(status)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=10, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def describe_environment(device: str, threads: int) -> dict[str, Any]:
    """Content of ``environment.json``."""
    return {
        "packages": {name: version for name in RECORDED_PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "device": device,
        "threads": threads,
        "command": ["python", "-m", "mammo_core", *sys.argv[1:2]],
        **git_state(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
