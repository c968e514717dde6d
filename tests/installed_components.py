"""Streamlit looks through every installed package for components each time that a page is opened in a test: here it does so once.

What is installed does not change while the tests run, and the look takes longer than most pages.
"""

from __future__ import annotations

import functools

from streamlit.components.v2 import manifest_scanner

_scan_once = functools.cache(manifest_scanner.scan_component_manifests)


def look_once() -> None:
    """Let Streamlit keep what it found, in this process."""
    manifest_scanner.scan_component_manifests = _scan_once
