"""The app as a user starts it, and a real browser in front of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mammo_core.settings import HOME_VARIABLE, PROJECT_ROOT, Workspace, open_workspace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
REQUIRE = "MAMMOTRACE_REQUIRE_BROWSER"
"""Set where a missing browser is an error, not a reason to skip."""

START_SECONDS = 60


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Workspace:
    return open_workspace(tmp_path_factory.mktemp("browser") / "runs")


@pytest.fixture(scope="module")
def app_url(home: Workspace) -> Iterator[str]:
    """The address of the running app; it and every training it started are ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mammo_core", "app", "--port", str(port), "--no-browser"]
    environment = {**os.environ, HOME_VARIABLE: str(home.home)}
    log = (home.home / "app.log").open("wb")
    process = subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    url = f"http://localhost:{port}"
    try:
        _wait_for(url, process)
        yield url
    finally:
        _end(process, home)
        log.close()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the app ended while it started"
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the app did not answer within {START_SECONDS} s")


def _end(process: subprocess.Popen[bytes], home: Workspace) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)
    for child in psutil.process_iter(["cmdline"]):
        if str(home.home) in (child.info["cmdline"] or []):
            child.terminate()


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        if os.environ.get(REQUIRE):
            pytest.fail(f"no Chromium was found and {REQUIRE} is set: install Debian's package 'chromium'")
        pytest.skip("no Chromium on this machine; the journey in a real browser was not tested")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(60_000)
    found = context.new_page()
    yield found
    context.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory) -> Path:
    """Where screenshots go: ``docs/images`` when MAMMOTRACE_SCREENSHOTS is set, else a temporary folder."""
    if os.environ.get("MAMMOTRACE_SCREENSHOTS"):
        return PROJECT_ROOT / "docs" / "images"
    return tmp_path_factory.mktemp("screenshots")
