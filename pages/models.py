"""Models: the shelf of what has been trained, and how good each was on its validation films."""

import pandas as pd
import streamlit as st

from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.workflows.model_shelf import kept_models
from mammo_core.workflows.shelf import SHELF_METRICS, ShelfRow, shelf, shelf_of_runs
from pages.shared.frame import current_workspace, page_title, plain
from pages.shared.glossary import explain
from pages.shared.kept_models_view import follow_model_jobs, import_file, keep_runs, show_kept
from pages.shared.run_picker import nothing_yet

TITLES = {
    "auc_ovr_macro": ("Macro-AUC", "macro-AUC"),
    "balanced_accuracy": ("Balanced accuracy", "balanced accuracy"),
    "kappa_quadratic": ("Kappa", "kappa"),
    "macro_f1": ("Macro-F1", "macro-F1"),
}
"""Metric -> heading, and its word in the glossary."""


def table_of(rows: list[ShelfRow]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Name": [row.name for row in rows],
            "Task": [f"{row.task} ({' / '.join(row.class_names)})" for row in rows],
            "Data": [row.dataset for row in rows],
            "Films": [f"{row.train_films or '?'} + {row.val_films or '?'}" for row in rows],
            "Runs": [len(row.runs) for row in rows],
            "Verdicts": [row.verdicts for row in rows],
            **{TITLES[name][0]: [row.metrics[name].partition(" (n")[0] for row in rows] for name in SHELF_METRICS},
            "Seeds": [", ".join(map(str, row.seeds)) for row in rows],
            "Epochs": [row.epochs for row in rows],
            "Weights": ["kept" if row.has_weights else "missing" for row in rows],
        }
    )


def show(rows: list[ShelfRow], key: str, alt: str) -> ShelfRow | None:
    """A table of models, and the selected one."""
    columns = {title: st.column_config.TextColumn(help=explain(word)) for title, word in TITLES.values()}
    columns |= {
        "Name": st.column_config.TextColumn(pinned=True),
        "Films": st.column_config.TextColumn(help="Training + validation"),
    }
    chosen = st.dataframe(
        table_of(rows), hide_index=True, column_config=columns, on_select="rerun", selection_mode="single-row", key=key, alt=alt
    )
    return rows[chosen.selection.rows[0]] if chosen.selection.rows else None


def trained_here(rows: list[ShelfRow], cards: list[RunCard]) -> None:
    """The runs of this workspace as models, and what can be done with the selected one."""
    chosen = show(rows, "models_table", f"{len(rows)} trained models, the newest first")
    st.caption(
        "On the validation films, at each run's best epoch. Several runs: mean ± SD (n-1) over them; one run: its value with "
        "95 % interval."
    )
    if chosen is None:
        st.info("Select a row to use a model, to keep it under a name, or to see its runs.", icon=":material/touch_app:")
        return
    st.subheader(plain(chosen.name))
    with st.container(horizontal=True):
        if st.button("Predict with it", type="primary", icon=":material/biotech:", disabled=not chosen.has_weights):
            st.switch_page("pages/predict.py", query_params={"predict_model": chosen.name})
        if st.button("Its curves", icon=":material/show_chart:"):
            st.switch_page("pages/history.py", query_params={"run": list(chosen.runs)})
        if st.button("Evaluate it", icon=":material/fact_check:"):
            st.switch_page("pages/evaluate.py", query_params={"evaluate_model": chosen.name})
    keep_runs(workspace, chosen)
    members = shelf_of_runs([card for card in cards if card.id in chosen.runs])
    st.dataframe(table_of(members).drop(columns=["Task", "Data", "Runs"]), hide_index=True, alt=f"The runs of {chosen.name}")


workspace = current_workspace()
page_title("Models", "What has been trained here, and how good was it?")
cards = list_cards(workspace)
rows, kept = shelf(cards), kept_models(workspace)
follow_model_jobs(workspace)
st.subheader("Kept models")
show_kept(workspace, kept)
import_file(workspace)
st.subheader("Trained here")
if rows:
    trained_here(rows, cards)
else:
    nothing_yet("No training has finished yet; a model appears here when its run ends.", "pages/train.py", "Start a training")
