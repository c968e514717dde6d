"""R6 in a quick size."""

from __future__ import annotations

from reliability.dead_runs import check


def test_the_dead_are_recognised_and_the_living_never_called_dead(tmp_path):
    found = check(full=False, seed=1, folder=tmp_path)
    assert all(finding.passed for finding in found), "\n".join(map(str, found))
