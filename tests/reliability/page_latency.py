"""R9: from a click to the new words on the page, while a network trains in a child of the same server and while nothing does.

A measurement, so never part of the tests: it needs a quiet machine, and says how busy this one was.
"""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench import pages
from mammo_core.settings import open_workspace
from reliability.findings import Finding

RATIO = 1.5
MILLISECONDS = 300.0


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    """``seed`` draws nothing here."""
    workspace = open_workspace(folder / "runs")
    pages.make_runs(workspace)
    before = os.getloadavg()[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=pages.CHROMIUM, args=pages.FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        idle, busy = pages.idle_and_training(workspace, page, 300 if full else 30)
        browser.close()
    (idle_50, idle_95), (busy_50, busy_95) = ((pages.share(times, 0.5), pages.share(times, 0.95)) for times in (idle, busy))
    found = (
        f"p50 {busy_50:.0f} ms, p95 {busy_95:.0f} ms against {idle_50:.0f} and {idle_95:.0f} idle ({busy_95 / idle_95:.2f} x), "
        f"{len(busy)} reruns each, load {before:.1f} before"
    )
    passed = busy_95 <= RATIO * idle_95 and busy_95 <= MILLISECONDS
    return [Finding("R9", "rerun of a page while a training runs", found, passed)]
