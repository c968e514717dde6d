"""Damaged films by upload and by import: half a thousand of them, about half a minute."""

from __future__ import annotations

import pytest

from reliability import fuzz_films


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    return fuzz_films.check(False, 1, tmp_path_factory.mktemp("films"))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3), ids=["nothing dies", "one sentence each", "time and memory are bounded"])
def test_damaged_films_are_decoded_or_refused(findings, number):
    assert findings[number].passed, str(findings[number])
