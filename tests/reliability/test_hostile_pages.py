"""Pages over a workspace of hostile words and broken files; about half a minute."""

from __future__ import annotations

import pytest

from reliability import hostile_pages


@pytest.mark.slow
def test_pages_show_hostile_words_as_words(tmp_path):
    (finding,) = hostile_pages.check(False, 1, tmp_path)
    assert finding.passed, str(finding)
