"""A split by date: training on earlier films, the test on later ones, and nobody on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mammo_core.errors import SplitError

DATE_COLUMNS = ("year", "study_year", "exam_year", "date", "study_date", "exam_date")
"""Columns of a manifest that say when a film was made, the first one found is used."""
MAX_GAP_MONTHS = 120

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DateCut:
    """Where the films of a data set stand around a date."""

    column: str
    start: str
    """First date of the test: a year where the column holds years, else ``2019-05-01``."""
    test: Bools
    """Films of the test, shape (n_films,)."""
    kept: Bools
    """Films that stand anywhere in the split, shape (n_films,)."""
    left_out: dict[str, int]
    """Reason -> films that stand nowhere."""


def date_columns(manifest: pd.DataFrame) -> list[str]:
    """The columns by which the films can be split by date."""
    return [name for name in DATE_COLUMNS if name in manifest.columns and (manifest[name] != "").any()]


def cut_by_date(
    manifest: pd.DataFrame, group_of_film: npt.NDArray[np.int64], column: str, start: str, gap_months: int, test_share: float
) -> DateCut:
    """Part the films at a date.

    A group with a film on or after the date is of the test; its earlier films stand nowhere, so that the test is later than
    all training and no patient stands on both sides. Films without a date, and those in the gap before it, stand nowhere.

    Parameters
    ----------
    group_of_film : ndarray of shape (n_films,), int
    column : str
        Empty takes the first of :data:`DATE_COLUMNS` that the manifest has.
    start : str
        First year or day of the test; empty takes the one that brings the share of groups in the test nearest to ``test_share``.
        A year where the films tell no more than theirs.
    gap_months : int
        Films this long before the date are left out, for example one screening round; whole years where films tell only those.

    Raises
    ------
    SplitError
        No such column or no dates in it, a date that cannot be read or is finer than those of the films, or one side would be
        empty.
    """
    found = date_columns(manifest)
    column = column or (found[0] if found else "")
    if column not in manifest.columns:
        raise SplitError(
            f"The films have no date (the data set has no column {column or ' or '.join(DATE_COLUMNS[:2])}); expected a year a "
            "film. Import it with a year column, or choose another way to split."
        )
    if not 0 <= gap_months <= MAX_GAP_MONTHS:
        raise SplitError(f"The gap is {gap_months} months; expected 0 to {MAX_GAP_MONTHS}.")
    dates = _dates(manifest[column])
    if not dates.notna().any():
        raise SplitError(f"No film has a date in the column {column!r}; expected years such as 2019, or days such as 2019-05-01.")
    if holds_years(manifest[column]):
        _check_years(column, start, gap_months)
    latest = dates.groupby(group_of_film).max()
    day = _day(start) if start else _nearest(latest, test_share)
    later = (dates >= day).to_numpy(dtype=np.bool_)
    in_test = np.isin(group_of_film, latest.index[latest >= day])
    early = (dates < day - pd.DateOffset(months=gap_months)).to_numpy(dtype=np.bool_)
    undated = dates.isna().to_numpy(dtype=np.bool_)
    kept = np.where(in_test, later, early)
    if not (kept & in_test).any() or not (kept & ~in_test).any():
        raise SplitError(
            f"Splitting at {_shown(day, start or manifest[column])} leaves one side without films; the dates run from "
            f"{_shown(dates.min(), manifest[column])} to {_shown(dates.max(), manifest[column])}. Choose a date between them."
        )
    left_out = {
        "no date": int(undated.sum()),
        "earlier films of patients of the test": int((in_test & ~later & ~undated).sum()),
        f"in the gap of {gap_months} months before the test": int((~in_test & ~early & ~undated).sum()),
    }
    shown = _shown(day, start or manifest[column])
    return DateCut(column, shown, kept & in_test, kept, {reason: films for reason, films in left_out.items() if films})


def holds_years(texts: pd.Series[str]) -> bool:
    """Whether the films tell the year in which they were made and no more."""
    known = _bare(texts)[_dates(texts).notna()]
    return len(known) > 0 and bool(known.str.fullmatch(r"\d{4}").all())


def _check_years(column: str, start: str, gap_months: int) -> None:
    """A day in the middle of a year, or a gap of some months, would not be kept: films of one year cannot be told apart."""
    if start and not holds_years(pd.Series([start])):
        raise SplitError(
            f"The first date of the test is {start!r}, but the films tell only their {column}; expected one such as 2019."
        )
    if gap_months % 12:
        raise SplitError(
            f"The gap is {gap_months} months, but the films tell only their {column}; expected whole years, such as 12 or 24."
        )


def _bare(texts: pd.Series[str]) -> pd.Series[str]:
    """Without spaces, and without the ``.0`` that a spreadsheet gave a year."""
    return texts.astype(str).str.strip().str.replace(r"\.0$", "", regex=True).reset_index(drop=True)


def _dates(texts: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """First of January where only a year is known; NaT where nothing is, or it makes no sense."""
    text = _bare(texts)
    full = text.where(~text.str.fullmatch(r"\d{4}"), text + "-01-01")
    # Eight digits are how DICOM writes a day.
    full = full.str.replace(r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3", regex=True)
    return pd.to_datetime(full, format="%Y-%m-%d", errors="coerce")


def _day(text: str) -> pd.Timestamp:
    day = _dates(pd.Series([text]))[0]
    if pd.isna(day):
        raise SplitError(f"The first date of the test is {text!r}; expected a year such as 2019, or a day such as 2019-05-01.")
    return day


def _nearest(latest: pd.Series[pd.Timestamp], test_share: float) -> pd.Timestamp:
    """The date that brings the share of groups with a film on or after it nearest to the wish, and leaves both sides some."""
    known = latest.dropna()
    days = np.sort(known.unique())[1:]
    if not len(days):
        raise SplitError("All patients have their latest film on the same date; expected several. Choose another way to split.")
    shares = np.array([float((known >= day).mean()) for day in days])
    # Rounded, so that of two dates that fit equally well the earlier one is taken on every machine.
    return pd.Timestamp(days[np.abs(shares - test_share).round(9).argmin()])


def _shown(day: pd.Timestamp, like: str | pd.Series[str]) -> str:
    """As a year where the texts are years."""
    texts = [like] if isinstance(like, str) else [text for text in like.tolist() if text]
    return str(day.year) if all(len(text.split(".")[0]) == 4 for text in texts) else day.strftime("%Y-%m-%d")
