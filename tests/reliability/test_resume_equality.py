"""R3 in a quick size: what no other test shows, whole runs with everything on; workers are in the full size."""

from __future__ import annotations

from reliability.resume_equality import check


def test_a_run_that_was_killed_and_resumed_has_the_bits_of_one_that_was_not(tmp_path):
    found = check(full=False, seed=1, folder=tmp_path)
    assert all(finding.passed for finding in found), "\n".join(map(str, found))
