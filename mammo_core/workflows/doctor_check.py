"""One answer of the doctor: what was looked at, what was found, whether that is good, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["good", "note", "broken"]
"""``note``: everything works, but something is worth knowing. ``broken``: something does not work."""


@dataclass(frozen=True)
class Check:
    """What one look found. The texts name no folder of the machine and no patient."""

    name: str
    """Stable, for programs: ``python``, ``packages`` ..."""
    title: str
    state: State
    found: str
    todo: str = ""
    """One sentence; empty where all is good."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
