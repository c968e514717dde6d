"""How the command line talks: answers on stdout, everything else on stderr, one JSON document where asked for."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

BAR_WIDTH = 30
BAR_SECONDS = 0.2
LINE_SECONDS = 10.0
"""Where stderr is a file, a progress line is written this often instead of a moving bar."""


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def answer(text: str) -> None:
    """A line of what the person asked for, on stdout."""
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """A line for the person at the terminal, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def log_to_stderr() -> None:
    """Show what the library logs (training progress, films left out) on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("mammo_core")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class ProgressBar:
    """``progress(done, total, message)`` as a bar with the time to go; a plain line now and then where stderr is no terminal."""

    def __init__(self, what: str) -> None:
        self._what, self._started, self._shown_at = what, time.monotonic(), 0.0
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int, message: str = "") -> None:
        now = time.monotonic()
        is_last = total > 0 and done >= total
        if not is_last and now - self._shown_at < (BAR_SECONDS if self._is_terminal else LINE_SECONDS):
            return
        self._shown_at = now
        left = (now - self._started) / done * (total - done) if done else 0.0
        text = f"{message or self._what}: {done} of {total}" + (f", about {left:.0f} s left" if left >= 1 else "")
        if self._is_terminal:
            filled = BAR_WIDTH * done // max(total, 1)
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {text:<60.60}" + ("\n" if is_last else ""))
            sys.stderr.flush()
        else:
            say(text)


def table_text(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> str:
    """A plain table with aligned columns."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
