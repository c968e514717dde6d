"""Old and foreign run directories; a quarter of a minute."""

from __future__ import annotations

import pytest

from reliability import old_runs


@pytest.mark.slow
def test_old_and_foreign_runs_open_or_are_explained(tmp_path):
    (finding,) = old_runs.check(False, 1, tmp_path)
    assert finding.passed, str(finding)
