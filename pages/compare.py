"""Compare: is the difference between groups of runs real, or chance?"""

from typing import Any

import streamlit as st

from mammo_core.analysis.compare import compare
from mammo_core.report.charts import CurveView, group_curves, metric_dots
from mammo_core.runs.listing import RunCard, list_cards
from mammo_core.runs.run_dir import find_run
from mammo_core.runs.schema import HEADLINE_METRICS
from pages.shared.figures import download_figure, download_table, show_chart
from pages.shared.frame import STATE_WORDS, current_workspace, errors_in_words, page_title, plain
from pages.shared.glossary import explain
from pages.shared.number_tables import difference_rows, effect_rows, group_rows
from pages.shared.run_files import Stamp, run_history, stamp
from pages.shared.run_picker import nothing_yet, pick_names

CURVES = {
    "val_loss": ("Loss", "Validation loss (nats)"),
    "val_auc_ovr": ("Macro-AUC", "Validation macro-AUC"),
    "val_kappa_quadratic": ("Kappa", "Validation kappa (quadratic)"),
    "val_balanced_acc": ("Balanced accuracy", "Validation balanced accuracy"),
    "val_acc": ("Accuracy", "Validation accuracy"),
    "train_loss": ("Training loss", "Training loss (nats)"),
}
"""Column of the history -> its button, and the axis of its figure."""

PARTS = {"val": "validation films", "test": "test films"}
DOTS_WIDTH, CURVES_WIDTH = 400, 480

workspace = current_workspace()
Groups = dict[str, list[RunCard]]


def version_of(groups: Groups, on: str) -> tuple[Any, ...]:
    """Everything that the comparison is read from."""
    files: list[Stamp] = []
    for card in (card for members in groups.values() for card in members):
        run = card.run
        files += map(stamp, (run.summary_file, run.status_file, run.metrics_file(on), run.predictions_file(on), run.history_file))
    return on, tuple((name, *(card.id for card in members)) for name, members in groups.items()), tuple(files)


@st.cache_data(max_entries=16, show_spinner="Comparing: patients are drawn anew 2000 times ...")
def compared(home: str, groups: dict[str, tuple[str, ...]], on: str, version: tuple[Any, ...]) -> dict[str, Any]:
    return compare({name: [find_run(workspace, run_id) for run_id in runs] for name, runs in groups.items()}, on)


def choose(cards: list[RunCard]) -> Groups:
    """Experiments as groups; each shows its runs, and any of them can be left out."""
    by_experiment: Groups = {}
    for card in cards:
        by_experiment.setdefault(card.run.experiment, []).append(card)
    finished = [name for name, members in by_experiment.items() if any(card.state == "finished" for card in members)]
    chosen = pick_names("Groups (experiments)", list(by_experiment), "compare_group", finished[:2])
    groups: Groups = {}
    for name in chosen:
        members = {card.run.name: card for card in by_experiment[name]}
        words = {run: run if card.state == "finished" else f"{run} {STATE_WORDS[card.state]}" for run, card in members.items()}
        kept = st.pills(
            f"Runs of {plain(name)} that count", list(members), selection_mode="multi", default=list(members),
            format_func=words.__getitem__, key=f"compare_runs_{name}", persist_state="session", help=explain("run"),
        )  # fmt: skip
        groups[name] = [members[run] for run in kept]
        if len(kept) < len(members):
            left_out = [run for run in members if run not in kept]
            st.caption(f":material/visibility_off: Left out by you: {plain(', '.join(left_out))}.")
    return groups


def measured_on(result: dict[str, Any]) -> str:
    """Which films the numbers come from: part, count and split of each group."""
    words = []
    for group in result["groups"]:
        films = sorted({count for count in group["films"] if count is not None})
        splits = sorted({str(value)[:8] for value in group["split_sha256"] if value})
        if group["n"]:
            words.append(f"{group['name']}: {' or '.join(map(str, films)) or '?'} films, split {' and '.join(splits) or 'unknown'}")
    return f"Measured on the {PARTS[result['on']]}, at each run's best epoch. {'; '.join(words)}."


def numbers(result: dict[str, Any]) -> None:
    shown = [metric for metric in HEADLINE_METRICS if any(metric in group["metrics"] for group in result["groups"])]
    table = group_rows(result["groups"], shown)
    st.dataframe(table, hide_index=True, alt=f"Mean, SD and interval of each metric. {result['answer']}")
    download_table(table, f"compare_{result['on']}", "compare_table")
    st.subheader("Every run as a dot")
    groups = [group for group in result["groups"] if group["n"]]
    show_chart(lambda: metric_dots(groups, shown, DOTS_WIDTH), "compare_dots", repr(groups))
    download_figure(lambda width: metric_dots(groups, shown, width), "compare_dots", table, note(result), "compare_dots_file")


def curves(groups: Groups, version: tuple[Any, ...], result: dict[str, Any]) -> None:
    st.subheader("All seeds with their mean")
    column = st.segmented_control(
        "Curve", list(CURVES), format_func=lambda name: CURVES[name][0], default="val_loss", required=True, key="compare_curve",
        bind="query-params",
    )  # fmt: skip
    counted = {run for group in result["groups"] for run in group["runs"]}
    frames = {name: {card.id: run_history(card.run) for card in cards if card.id in counted} for name, cards in groups.items()}
    planned = max((card.status.epochs for cards in groups.values() for card in cards if card.status), default=None)

    def build(width: int) -> Any:
        return group_curves(frames, column, CurveView(title=CURVES[column][1], epochs_planned=planned, width=width))

    show_chart(lambda: build(CURVES_WIDTH), "compare_curves", (version, column))
    rows = [frame.assign(group=name, run=run) for name, members in frames.items() for run, frame in members.items()]
    if rows:
        import pandas as pd

        table = pd.concat(rows)[["group", "run", "epoch", column]]
        download_figure(build, f"compare_{column}", table, note(result), "compare_curves_file")


def note(result: dict[str, Any]) -> str:
    runs = ", ".join(run for group in result["groups"] for run in group["runs"])
    return f"Runs {runs}; {PARTS[result['on']]}; SD (n-1); not smoothed"


def show(groups: Groups, on: str) -> None:
    version = version_of(groups, on)
    ids = {name: tuple(card.id for card in members) for name, members in groups.items()}
    result = compared(str(workspace.home), ids, on, version)
    st.markdown(f"### {plain(result['answer'])}")
    st.caption(plain(measured_on(result)))
    if result["warnings"]:
        st.warning("\n".join(f"- {plain(warning)}" for warning in result["warnings"]), title="Before you trust it")
    numbers(result)
    curves(groups, version, result)
    if result["config_differences"]:
        st.subheader("What differs in the settings")
        st.dataframe(difference_rows(result["config_differences"]), hide_index=True, alt="Settings that differ between the groups")
    if result["tests"]:
        with st.expander("Tests", icon=":material/science:"):
            st.dataframe(effect_rows(result["tests"]), hide_index=True, alt="Differences between groups with intervals")


page_title("Compare", "Is the difference real, or chance?")
cards = list_cards(workspace)
if not cards:
    nothing_yet("There is no run yet; two experiments, or the seeds of one, can be compared here.", "pages/train.py", "Start a training")
else:
    with errors_in_words():
        groups = choose(cards)
        on = st.segmented_control(
            "Films", list(PARTS), format_func=PARTS.__getitem__, default="val", required=True, key="compare_on", bind="query-params"
        )
        if groups:
            show(groups, on)
        else:
            st.info("Choose one experiment to see how much its seeds differ, or two to compare them.", icon=":material/info:")
