"""How a data set was imported: what its labels became, where patients and views came from, what was left out, and notes."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from mammo_core.data.adapters.describing import ROLE_WORDS
from mammo_core.data.manifest import DatasetRecord
from mammo_core.report.tables import without_formulas
from mammo_core.workflows.ingest_record import label_lines
from pages.shared.frame import plain
from pages.shared.glossary import explain

LEFT_OUT = "left out"


def show_import_record(record: DatasetRecord) -> None:
    """Everything that the import noted; nothing for a data set that was made without notes."""
    for note in record.notes:
        st.info(plain(note), icon=":material/info:")
    _show_labels(record)
    if record.left_out:
        st.markdown("**Left out at import**", help=explain("left out"))
        for item in record.left_out:
            st.markdown(plain(f"{item.get('count', '?')}: {item.get('reason', '')}"))
    if record.origins:
        with st.expander("Where it comes from", icon=":material/table_rows:"):
            rows = [(ROLE_WORDS.get(role, role), origin) for role, origin in record.origins.items()]
            table = pd.DataFrame(rows, columns=["What", "From"])
            st.dataframe(without_formulas(table), hide_index=True, alt="What is known of the films, and where it comes from")


def _show_labels(record: DatasetRecord) -> None:
    """Which stored label became which class; nothing where all are called as they were and no sentence says more."""
    lines = label_lines(record)
    is_told = bool(record.label_words) or any(line.word != line.class_name for line in lines)
    if not is_told:
        return
    st.markdown("**Labels as they were stored**", help=explain("label map"))
    if record.label_words:
        st.caption(plain(record.label_words))
    if lines:
        rows = [(line.word, line.class_name or LEFT_OUT, line.films) for line in lines]
        table = pd.DataFrame(rows, columns=["In the source", "Class", "Films"]).astype({"Films": "Int64"})
        if table["Films"].isna().all():
            table = table.drop(columns="Films")
        st.dataframe(
            without_formulas(table), hide_index=True, alt="Each label as it was stored, its class, and the films that carry it"
        )
