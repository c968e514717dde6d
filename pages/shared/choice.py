"""One of a few named things as a row of buttons, kept in the page's URL."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st


def choose(label: str, words: Mapping[str, str], key: str) -> str:
    """The chosen key of ``words``, whose values are shown; the first one until something else is chosen."""
    first = next(iter(words))
    return str(
        st.segmented_control(
            label, list(words), format_func=words.__getitem__, default=first, required=True, key=key, bind="query-params"
        )
    )
