"""How the measurements say what they found."""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def say_seconds(what: str, ours: float, goal: float, plain: float, how: str) -> None:
    """One line: our time against the goal, and how many times quicker than the plain way."""
    verdict = "reached" if ours <= goal else "MISSED"
    print(f"{what:44s} {ours:7.2f} s   {how} {plain:7.2f} s   ratio {plain / ours:6.2f}   goal {goal:g} s {verdict}", flush=True)


def say_rate(what: str, rate: float, plain: float, how: str, wanted: tuple[str, bool]) -> None:
    """One line: films a second, those of what it is compared with, their ratio; ``wanted`` is the goal and whether it is met."""
    goal, reached = wanted
    verdict = "reached" if reached else "MISSED"
    print(
        f"{what:44s} {rate:9.2f} films/s   {how} {plain:9.2f} films/s   ratio {rate / plain:5.2f}   goal {goal} {verdict}",
        flush=True,
    )
