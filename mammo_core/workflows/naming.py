"""Proposing names that are allowed and not taken."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from mammo_core.errors import NameNotAllowed
from mammo_core.storage import check_name

LONGEST = 60
"""Of the 80 letters that a name may have: the rest is for ``_2`` and for the split that a launch puts behind it."""


def propose_name(text: str, is_taken: Callable[[str], bool], fallback: str = "films") -> str:
    """The nearest allowed name to ``text`` that is not taken, with ``_2``, ``_3`` ... behind it if need be.

    Examples
    --------
    >>> propose_name("Münster 2024 (CC)", lambda name: False)
    'Munster_2024_CC'
    >>> propose_name("density", {"density", "density_2"}.__contains__)
    'density_3'
    """
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"_*([.-])[_.-]*|_+", lambda match: match[1] or "_", re.sub(r"[^A-Za-z0-9._-]+", "_", letters))
    name = name.strip("._-")[:LONGEST].rstrip("._-")
    try:
        check_name(name)
    except NameNotAllowed:
        name = fallback
    copy = 1
    while is_taken(name if copy == 1 else f"{name}_{copy}"):
        copy += 1
    return name if copy == 1 else f"{name}_{copy}"
