"""R1 in a quick size: ten kills of real trainings. The full size is in ``bench/reliability.py``."""

from __future__ import annotations

from reliability.kills import check


def test_no_kill_costs_a_committed_epoch_or_changes_the_result(tmp_path):
    found = check(full=False, seed=1, folder=tmp_path)
    assert all(finding.passed for finding in found), "\n".join(map(str, found))
