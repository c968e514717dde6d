"""R5 in a quick size."""

from __future__ import annotations

from reliability.two_apps import check


def test_two_programs_on_one_workspace_never_undo_each_other(tmp_path):
    found = check(full=False, seed=1, folder=tmp_path)
    assert all(finding.passed for finding in found), "\n".join(map(str, found))
