"""A name that is asked for, checked where it is typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from mammo_core.errors import MammoError
from mammo_core.workflows.naming import propose_name
from pages.shared.frame import plain


def ask_name(label: str, base: str, folder: Callable[[str], Path], *, key: str, help_text: str | None = None) -> str | None:
    """Propose a free name near ``base``; returns what was typed, or ``None`` where it cannot be used.

    Parameters
    ----------
    folder : callable
        Where a thing of that name would lie; raises for a name that is not allowed, as the workspace's own folders do.
    key : str
        Of the widget. A new proposal, made once the old name is taken, replaces what was typed.
    """
    proposed = propose_name(base, lambda name: folder(name).exists())
    name = (st.text_input(label, proposed, key=f"{key}_{proposed}", max_chars=80, help=help_text) or "").strip()
    try:
        taken = folder(name).exists()
    except MammoError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return None
    if taken:
        st.error(plain(f"The name {name!r} is taken, and nothing is overwritten; choose another one."), icon=":material/error:")
        return None
    return name
