"""R11: a workspace of a thousand runs (in full ten thousand) is listed at once; the measurement is that of ``bench.analysis``."""

from __future__ import annotations

from pathlib import Path

from bench.analysis import listing_seconds
from reliability.findings import Finding

COLD_SECONDS = 1.0
WARM_SECONDS = 0.1
"""For a thousand runs of 100 epochs."""


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    """``seed`` draws nothing here."""
    count = 10_000 if full else 1_000
    cold, warm = listing_seconds(folder, count)
    goals = COLD_SECONDS * count / 1000, WARM_SECONDS * count / 1000
    return [
        Finding("R11", f"{count} runs listed in a new process", f"{cold:.2f} s, goal {goals[0]:g} s", cold <= goals[0]),
        Finding("R11", f"{count} runs listed once more", f"{warm:.3f} s, goal {goals[1]:g} s", warm <= goals[1]),
    ]
