"""The results of a model on one part of its split: the headline, what is known of the films, and the overview."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from mammo_core.analysis.levels import PLURALS
from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.questions import questions_of
from mammo_core.report.charts import confusion_chart
from mammo_core.report.spec import Chart
from mammo_core.workflows.overview import plural, value_text
from mammo_core.workflows.shelf import ShelfRow
from pages.shared.figures import download_figure, download_table, show_chart
from pages.shared.frame import plain
from pages.shared.glossary import explain
from pages.shared.model_results import Results
from pages.shared.number_tables import class_rows, metric_rows

PARTS = {"val": "Validation films", "test": "Test films"}
PART_WORDS = {"val": "validation", "test": "test"}
CONFUSION_WIDTH = 250
SHOWN_NUMBERS = 6

ORDINAL_NUMBERS = ("kappa_quadratic", "dense_auc", "accuracy", "balanced_accuracy", "within_one", "auc_ovr_macro")
LESION_NUMBERS = ("auc_ovr_macro", "malignant_auc", "malignant_ap", "balanced_accuracy", "macro_f1", "accuracy", "log_loss")


def name_of(model: ShelfRow, results: Results) -> str:
    """Beginning of a file name."""
    unit = "" if results.level == "film" else f"_{results.level}"
    return f"{model.name}_{results.on}{unit}".replace("/", "_")


def note_of(model: ShelfRow, results: Results) -> str:
    """What is kept inside an exported figure."""
    units = results.units()
    cases = f"n = {len(units.table)} {PLURALS[results.level]}"
    return f"Model {', '.join(model.runs)}; {PARTS[results.on].lower()}; {cases}"


def headline(results: Results) -> None:
    """The number that matters most in one line, and how it came about."""
    metrics = results.metrics()
    name = "kappa_quadratic" if results.ordinal else "auc_ovr_macro"
    value = metrics.metrics.get(name)
    words = "undefined" if value is None else value_text(value)
    cases = f"{metrics.n} {PART_WORDS[results.on]} {PLURALS[results.level]}"
    of_patients = "" if results.level == "patient" else f" of {metrics.patients} patients"
    st.markdown(f"### {TITLES[name]} {plain(words)} on {plain(cases)}{of_patients}")
    runs = results.runs
    parts = ["Mean of the probabilities of " + plural(len(runs), "run") if len(runs) > 1 else f"Best epoch {metrics.epoch}"]
    if results.on == "test":
        parts.append(looks_words([len(run.test_looks()) for run in runs]))
    st.caption(
        f"{' · '.join(parts)}. 95 % intervals come from drawing patients anew; of shares at a fixed call, Wilson with n = "
        "patients.",
        help=explain("interval"),
    )
    units = results.units()
    if units.words:
        st.caption(f":material/stacks: {plain(units.words)}")


def looks_words(looks: Sequence[int]) -> str:
    """How often each run looked at the test films. They have been judged, so 0 means that nobody counted."""
    counted = [count for count in looks if count]
    if not counted:
        return "looks at the test films not recorded"
    words = f"test films looked at {plural(max(counted), 'time')}" + (" by each run" if len(looks) > 1 else "")
    return words if len(counted) == len(looks) else f"{words}, not recorded for {len(looks) - len(counted)} of {len(looks)} runs"


def facts_notice(results: Results) -> None:
    """What cannot be shown because the data set is gone or does not say it."""
    if results.facts_problem():
        st.caption(
            ":material/info: The data set of these films cannot be read, so there are no results by breast or exam, and no "
            f"subgroups but the centre. {plain(results.facts_problem())}"
        )
        return
    for level, why in results.missing_levels().items():
        st.caption(f":material/info: No results by {level}: {plain(why)}.")


def overview(model: ShelfRow, results: Results) -> None:
    """The confusion matrix beside the headline numbers, then each class, then everything there is."""
    metrics, name = results.metrics(), name_of(model, results)
    left, right = st.columns(2)

    def confusion(width: int) -> Chart:
        return confusion_chart(metrics.confusion_matrix, metrics.class_names, width)

    with left:
        st.subheader("Confusion matrix", help="Counts, and their share of the true class.")
        show_chart(confusion(CONFUSION_WIDTH), "evaluate_confusion")
        data = pd.DataFrame(metrics.confusion_matrix, columns=metrics.class_names).assign(true=metrics.class_names)
        download_figure(confusion, f"{name}_confusion", data, note_of(model, results), "evaluate_confusion_file")
    with right:
        _numbers(results)
    st.subheader("For each class")
    classes = class_rows(metrics, PLURALS[results.level])
    st.dataframe(classes, hide_index=True, alt="Sensitivity, specificity and more of each class with intervals")
    st.caption(
        "Called is the class with the highest probability; the view Threshold calls from a score on, so its sensitivities and "
        "predictive values answer another question. Predictive value here: at the share of the classes among these "
        f"{PLURALS[results.level]}."
    )
    st.subheader("All metrics")
    everything = metric_rows(metrics.metrics)
    st.dataframe(everything, hide_index=True, alt="Every metric with its interval")
    download_table(pd.concat([everything, classes]), f"{name}_metrics", "evaluate_table")


def _numbers(results: Results) -> None:
    """Six headline numbers, two in a row, each with its interval below and its method as help."""
    metrics = results.metrics().metrics
    main = questions_of(results.class_names, results.ordinal)
    yes = plain(main[0].positive_words) if main else ""
    own = {"dense_auc": f"AUC, {yes}", "malignant_auc": f"AUC, {yes}", "malignant_ap": f"Average precision, {yes}"}
    shown = [name for name in (ORDINAL_NUMBERS if results.ordinal else LESION_NUMBERS) if name in metrics][:SHOWN_NUMBERS]
    for start in range(0, len(shown), 2):
        for column, name in zip(st.columns(2), shown[start : start + 2], strict=False):
            found = metrics[name]
            value = "undefined" if found.value is None else f"{found.value:.3f}"
            column.metric(own.get(name, TITLES[name]), value, help=plain(found.method) or None)
            if found.ci_low is not None and found.ci_high is not None:
                column.caption(f"{found.ci_low:.3f} to {found.ci_high:.3f}")


View = Callable[[ShelfRow, Results], None]
