"""What a scenario found, for the tests and for ``bench/reliability.py`` alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One figure of a scenario, held against its goal."""

    goal: str
    """``R1`` to ``R17``."""
    what: str
    found: str
    passed: bool
    problems: tuple[str, ...] = ()
    """What failed, one sentence each; enough to make it again (seed, number, file)."""

    def __str__(self) -> str:
        verdict = "held" if self.passed else "MISSED"
        return "\n      ".join([f"{self.goal:4s} {verdict:6s} {self.what}: {self.found}", *self.problems[:10]])
