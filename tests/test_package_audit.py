"""The audit of packages: findings fail, reasons excuse, and silence is not taken for safety."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

audit = SimpleNamespace(**runpy.run_path(str(Path(__file__).resolve().parents[1] / ".ci" / "audit.py")))

GOOD = {"name": "numpy", "version": "2.4.6", "vulns": []}
FOUND = {
    "name": "pillow",
    "version": "13.0.0",
    "vulns": [{"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["13.0.1"], "description": "..."}],
}
SKIPPED = {"name": "mammotrace", "skip_reason": "not on PyPI"}


def test_a_finding_fails_and_says_what_to_do():
    lines, code = audit.judge([GOOD, FOUND], {})
    assert code == 1
    assert "pillow 13.0.0: PYSEC-2026-1, fixed in 13.0.1" in lines[0]


@pytest.mark.parametrize("name", ["PYSEC-2026-1", "CVE-2026-1"])
def test_a_finding_with_a_reason_is_told_and_passes(name):
    lines, code = audit.judge([GOOD, FOUND], {name: "that format is never opened"})
    assert code == 0
    assert "ignored: that format is never opened" in lines[0]


def test_what_could_not_be_asked_is_no_good_answer():
    assert audit.judge([SKIPPED], {}) == ([audit.UNREACHABLE], 0)
    lines, code = audit.judge([GOOD, SKIPPED], {})
    assert (code, "Not audited: mammotrace." in lines) == (0, True)


def test_an_excuse_that_is_needed_no_more_is_named():
    lines, code = audit.judge([GOOD], {"CVE-2020-1": "old"})
    assert (code, "CVE-2020-1 in audit_ignore.txt is found no more; take it out." in lines) == (0, True)


def test_an_excuse_needs_its_reason():
    assert audit.read_ignored("# note\n\nCVE-1  only on Windows\n") == {"CVE-1": "only on Windows"}
    with pytest.raises(ValueError, match="CVE-1 without a reason"):
        audit.read_ignored("CVE-1\n")
