"""The server as strangers meet it, and the rules by which a lab server lets people in."""

from __future__ import annotations

import pytest

from reliability import server

pytestmark = [pytest.mark.slow]


def test_a_stranger_finds_no_way_in_and_the_app_asks_nobody(tmp_path):
    found = server.check(full=False, seed=1, folder=tmp_path)
    assert [str(finding) for finding in found if not finding.passed] == []
