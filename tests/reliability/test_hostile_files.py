"""Hostile files through every door: all payloads made by hand and half a thousand fuzzed files, about half a minute."""

from __future__ import annotations

import pandas as pd
import pytest

from reliability import hostile_files
from reliability.hostile_bytes import WORDS


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    return hostile_files.check(False, 1, tmp_path_factory.mktemp("files"))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3), ids=["no code runs", "nothing outside", "in words"])
def test_hostile_files_are_taken_or_refused(findings, number):
    assert findings[number].passed, str(findings[number])


def test_no_exported_table_holds_a_formula():
    table = pd.DataFrame({"=1+1": list(WORDS), "word": [f"\t{word}" for word in WORDS], "n": range(len(WORDS))})
    for kind in (object, "string", "category"):
        assert hostile_files.formulas_left(table.astype({"word": kind, "=1+1": kind})) == []
