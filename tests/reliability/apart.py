"""Work done in a process of its own, so that its death, its memory and its time belong to nobody else.

    python -m reliability.apart MODULE FUNCTION JOURNAL ARGUMENTS

The function gets a :class:`Journal` and its arguments; what it tells is on disk before the next line of it runs, so that the last
line names what killed it.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TAIL = 1500
"""Characters kept of what a dead process printed."""


class Journal:
    """Lines of JSON, each written before the work goes on."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def tell(self, what: str, **values: Any) -> None:
        self._file.write(json.dumps({"what": what, **values}) + "\n")
        self._file.flush()


@dataclass
class Report:
    """How a process ended, and what it told."""

    returncode: int
    lines: list[dict[str, Any]] = field(default_factory=list)
    tail: str = ""
    seconds: float = 0.0

    def of(self, what: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["what"] == what]

    @property
    def died(self) -> list[str]:
        """Empty, or the sentence that says how it ended and what it was doing."""
        if self.returncode == 0:
            return []
        doing = self.lines[-1] if self.lines else "nothing yet"
        return [f"The process ended with {self.returncode} while doing {doing}: {self.tail[-TAIL:]}"]


def run_apart(module: str, function: str, arguments: dict[str, Any], journal: Path, seconds: float) -> Report:
    """Run ``function(journal, **arguments)`` of a module of ``tests/`` in a fresh process, and wait for it."""
    folders = [str(ROOT / "tests"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "reliability.apart", module, function, str(journal), json.dumps(arguments)]
    started = time.monotonic()
    output = journal.with_suffix(".out")
    with output.open("wb") as file:
        try:
            code = subprocess.run(command, stdout=file, stderr=file, timeout=seconds, env=environment, check=False).returncode
        except subprocess.TimeoutExpired:
            code = -1
    text = journal.read_text(encoding="utf-8") if journal.exists() else ""
    lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    tail = output.read_text(encoding="utf-8", errors="replace")[-TAIL:]
    return Report(code, lines, tail, time.monotonic() - started)


def main(arguments: Sequence[str]) -> None:
    module, function, journal, values = arguments
    getattr(importlib.import_module(module), function)(Journal(Path(journal)), **json.loads(values))


if __name__ == "__main__":
    main(sys.argv[1:])
