"""Kills, power loss, full disks, fuzzed files and load, against the goals R1 to R17.

    python -m bench.reliability [--full] [--only kills fuzz] [--seed 1]

Without ``--full`` the sizes are those of the tests. Each scenario is a module of ``tests/reliability`` whose ``check(full, seed,
folder)`` returns what it found; every figure is printed with the goal that it is held against.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

SCENARIOS: tuple[str, ...] = (
    *("kills", "power_loss", "resume_equality", "disk_full", "two_apps", "dead_runs"),  # R1 to R6
    *("fuzz_films", "hostile_files", "hostile_pages"),  # R7 and R8
    *("page_latency", "polls_memory", "many_runs"),  # R9 to R11
    *("ranks", "sweep_kills"),  # R12 and R13
    *("server", "canaries"),  # R14 and R15
    *("old_runs", "soak"),  # R16 and R17
)
"""In the order of the goals."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes of a release; hours on two cores")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    missed = 0
    for name in chosen.only:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mammotrace_") as folder:
            found = importlib.import_module(f"reliability.{name}").check(chosen.full, chosen.seed, Path(folder))
        print(f"{name}, seed {chosen.seed}, {time.monotonic() - started:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
        for finding in found:
            print(f"  {finding}", flush=True)
        missed += sum(not finding.passed for finding in found)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
