"""Proposed names are allowed and free."""

from __future__ import annotations

import pytest

from mammo_core.storage import check_name
from mammo_core.workflows.naming import propose_name


@pytest.mark.parametrize(
    "text",
    ["Münster 2024 (CC)", "乳房", "..", "a/b/c", "CON", "x" * 300, "-lead", "trail.", "two..dots", "", "nul.txt", "a.-.b"],
)
def test_every_proposal_is_allowed(text: str) -> None:
    name = propose_name(text, lambda name: False)
    assert check_name(name) == name


def test_a_taken_name_gets_a_number() -> None:
    taken = {"density", "density_2", "density_3"}
    assert propose_name("density", taken.__contains__) == "density_4"


def test_a_name_with_nothing_in_it_becomes_the_fallback() -> None:
    assert propose_name("乳房", lambda name: False, fallback="split") == "split"
