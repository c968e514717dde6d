"""Tables for papers and spreadsheets: the seed table as numbers, Markdown and LaTeX, and CSV that no spreadsheet executes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mammo_core.analysis.metrics import TITLES
from mammo_core.analysis.variance import SD_DEFINITION, describe
from mammo_core.report.plain_text import plain_in_file
from mammo_core.report.run_facts import NOT_RECORDED
from mammo_core.runs.schema import HEADLINE_METRICS
from mammo_core.settings import RESEARCH_ONLY

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters at which a spreadsheet takes a cell for a formula or splits it."""

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≥": r"$\ge$",
    "≤": r"$\le$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "–": "--",
    "…": r"\ldots{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # behind a row's end it would begin a length
    "*": "{*}",  # and this would join it
}
LATEX_LETTERS = 0x17F
"""Up to this letter (accented Latin) plain LaTeX reads UTF-8 without a package."""


def safe_csv(table: pd.DataFrame) -> bytes:
    """CSV as UTF-8, with an apostrophe before text that a spreadsheet would run as a formula; numbers stay as they are.

    Source
    ------
    OWASP, "CSV Injection": cells that begin with ``=``, ``+``, ``-``, ``@``, tab or carriage return.
    """
    # with "\n" alone as line end, a carriage return inside a cell would stand unquoted
    return without_formulas(table).to_csv(index=False, lineterminator="\r\n").encode("utf-8")


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """The table with that apostrophe, for the screen too: there a browser writes the file, from the cells as they are shown."""
    safe = table.rename(columns=lambda name: _harmless(str(name)), index=_harmless)
    texts = [str(column) for column, dtype in safe.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)]
    return safe.assign(
        **{column: pd.Series([_harmless(cell) for cell in safe[column]], index=safe.index, dtype=object) for column in texts}
    )


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


ENDS = {
    "mean": "mean",
    "SD (n-1)": "sd",
    "n": "n",
    "95 % interval of the mean, low": "ci_low",
    "95 % interval of the mean, high": "ci_high",
}
"""Last rows of the seed table in CSV."""


def seed_numbers(summary: Mapping[str, Any]) -> pd.DataFrame:
    """The runs of ``summarise_experiment`` with all metrics in full precision, then mean, SD (n-1), n and t interval; for CSV."""
    names = list(summary["metrics"])
    shown = ["best_epoch_words"] if summary.get("imported") else []  # other tools may count epochs in their own way
    rows = [
        {key: run[key] for key in ("run", "seed", "fold", "best_epoch", *shown, "epochs_run")}
        | {name: run["metrics"][name] for name in names}
        for run in summary["runs"]
    ]
    table = pd.DataFrame(rows, columns=["run", "seed", "fold", "best_epoch", *shown, "epochs_run", *names])
    ends = [{"run": label} | {name: summary["metrics"][name][key] for name in names} for label, key in ENDS.items()]
    whole = pd.concat([table, pd.DataFrame(ends, columns=table.columns)], ignore_index=True).astype(
        dict.fromkeys(("seed", "fold", "best_epoch", "epochs_run"), "Int64")
    )
    return whole.assign(note=RESEARCH_ONLY)


def seed_table(summary: Mapping[str, Any], metrics: Sequence[str] = HEADLINE_METRICS, digits: int = 3) -> pd.DataFrame:
    """The same for reading: one row a run, the last one ``0.696 ± 0.032 (n = 3, SD n-1)``; all cells are text.

    Runs stand under their seeds; where a seed is not recorded, under their names.
    """
    shown = [name for name in metrics if name in summary["metrics"]]
    has_folds = any(run["fold"] is not None for run in summary["runs"])
    named = any(run["seed"] is None for run in summary["runs"])
    rows = []
    for run in summary["runs"]:
        row = {"Run": str(run["run"])} if named else {}
        row["Seed"] = NOT_RECORDED if run["seed"] is None else str(run["seed"])
        if has_folds:
            row["Fold"] = "" if run["fold"] is None else str(run["fold"])
        row["Best epoch"] = run["best_epoch_words"]
        rows.append(row | {TITLES.get(name, name): _number(run["metrics"][name], digits) for name in shown})
    if summary["runs"]:
        last = dict.fromkeys(rows[0], "") | {next(iter(rows[0])): "Mean ± SD"}
        rows.append(last | {TITLES.get(n, n): describe(summary["metrics"][n]["values"]).text(digits) for n in shown})
    return pd.DataFrame(rows)


def _number(value: float | None, digits: int) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


def to_markdown(table: pd.DataFrame, words: Sequence[str] = ()) -> str:
    """A Markdown table; the first column and those of ``words`` to the left, the numbers to the right."""
    cells = [[_markdown(cell) for cell in row] for row in table.to_numpy().tolist()]
    head = [_markdown(name) for name in table.columns]
    marks = ["---" if index == 0 or name in words else "---:" for index, name in enumerate(table.columns)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, marks, *cells])


def _markdown(cell: Any) -> str:
    return plain_in_file(cell)  # else a class name could be a picture or a tag


def to_latex(table: pd.DataFrame, caption: str, label: str, has_total: bool = True) -> str:
    """A ``table`` environment that needs no package; every cell is escaped.

    ``has_total`` draws a line above the last row. Letters that plain LaTeX does not know are kept, and a comment says so.
    """
    rows = [list(table.columns), *table.to_numpy().tolist()]
    lines = [" & ".join(escape_latex(str(cell)) for cell in row) + r" \\" for row in rows]
    total = [r"\hline", lines[-1]] if has_total and len(lines) > 1 else lines[-1:] if len(lines) > 1 else []
    body = "\n".join([r"\hline", lines[0], r"\hline", *lines[1:-1], *total, r"\hline"])
    foreign = any(ord(sign) > LATEX_LETTERS for sign in escape_latex(caption) + body)
    needs = "% Holds letters beyond Latin: compile with XeLaTeX or LuaLaTeX and a font that has them.\n" if foreign else ""
    return (
        f"% {RESEARCH_ONLY}\n{needs}\\begin{{table}}\n\\centering\n\\caption{{{escape_latex(caption)}}}\n\\label{{{label}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}\n{body}\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it stands, on one line: an empty line would end a caption."""
    return "".join(LATEX_SPECIAL.get(sign, sign) for sign in " ".join(text.split()))


def seed_caption(summary: Mapping[str, Any]) -> str:
    """What a reader must know beside the seed table."""
    listed = ", ".join(str(run["run"]) for run in summary["runs"])
    when = "as another tool recorded them" if summary.get("imported") else "at each run's best epoch (lowest validation loss)"
    return (
        f"Validation metrics of {summary['experiment']} {when}; runs: {listed}; {SD_DEFINITION}, n = {summary['n']}. "
        f"{RESEARCH_ONLY}."
    )
