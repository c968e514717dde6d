"""R4 in a quick size: the disk is full at the files that matter most, and folders that may not be written."""

from __future__ import annotations

from reliability.disk_full import check


def test_a_full_or_read_only_disk_is_told_in_words_and_costs_nothing_that_was_kept(tmp_path):
    found = check(full=False, seed=1, folder=tmp_path)
    assert all(finding.passed for finding in found), "\n".join(map(str, found))
