"""A sweep whose jobs are killed at random and submitted again. It takes about half a minute."""

from __future__ import annotations

import pytest

from reliability import sweep_kills


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    return sweep_kills.check(False, 1, tmp_path_factory.mktemp("sweep"))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2), ids=["every job completes", "the summary is that of a sweep left in peace"])
def test_a_sweep_survives_random_kills(findings, number):
    assert findings[number].passed, str(findings[number])
