"""Reading a split that was made elsewhere: whose film is meant, and which part."""

from __future__ import annotations

from collections import Counter, defaultdict
from io import BytesIO
from pathlib import PurePosixPath

import pandas as pd

from mammo_core.data.manifest import Dataset
from mammo_core.data.split_files import check_table
from mammo_core.errors import SplitError
from mammo_core.reading import refuse_wide_table

ROLES = {
    "image_id": ("image_id", "image", "imageid", "film", "file", "filename", "file_name", "path", "image_path"),
    "split": ("split", "set", "partition", "subset", "part"),
    "fold": ("fold",),
    "label": ("label", "class"),
}
"""What a column may be called; the first that is there counts."""
SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test",
}  # fmt: skip
MAX_BYTES = 64 * 2**20


def read_split_table(content: bytes) -> pd.DataFrame:
    """A CSV or TSV (commas, semicolons or tabs) as text.

    Raises
    ------
    SplitError
        It is no such table, or too large to be one.
    """
    if len(content) > MAX_BYTES:
        raise SplitError(
            f"The table has {len(content) // 2**20} MB; expected at most {MAX_BYTES // 2**20} MB with one row a film."
        )
    try:
        refuse_wide_table(content)
        head = content[:4096].decode("utf-8-sig", "strict" if len(content) <= 4096 else "ignore").partition("\n")[0]
        mark = max(",;\t", key=head.count)
        return pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=mark)
    except (ValueError, OverflowError, MemoryError) as error:  # the errors of pandas are ValueErrors
        raise SplitError("The table is not readable as CSV; expected the columns image_id and split, one row a film.") from error


def complete_table(table: pd.DataFrame, facts: pd.DataFrame, dataset: Dataset) -> tuple[pd.DataFrame, list[str]]:
    """The foreign rows as a split table, and sentences on what does not agree with the data set.

    Parameters
    ----------
    table : DataFrame of text with the columns of :data:`ROLES`; several rows of one film (one a lesion) must agree
    facts : the films that can be split, with ``group_id``

    Raises
    ------
    SplitError
        As :func:`mammo_core.data.splits.import_split`.
    """
    named = _named_columns(table)
    named["image_id"] = _image_ids(named["image_id"], dataset)
    named["split"] = named["split"].str.strip().str.lower().map(lambda word: SPLIT_WORDS.get(word, word))
    named["fold"] = named["fold"].str.strip().str.replace(r"\.0$", "", regex=True)
    rows = named.drop_duplicates(["image_id", "split", "fold"])
    torn = int(rows["image_id"].duplicated().sum())
    if torn:
        raise SplitError(f"{torn} film(s) of the table stand in two parts; expected each film in one. Correct the table.")
    of = facts.set_index("image_id")
    known = rows["image_id"].isin(of.index)
    remarks = [] if known.all() else [f"{int((~known).sum())} film(s) of the table were excluded here and are left out."]
    rows = rows[known]
    completed = pd.DataFrame(
        {
            "image_id": rows["image_id"],
            "patient_id": rows["image_id"].map(of["patient_id"]),
            "group_id": rows["image_id"].map(of["group_id"]),
            "split": rows["split"],
            "fold": rows["fold"],
        },
        dtype=str,
    ).reset_index(drop=True)
    check_table(completed, "The table")
    return completed, remarks + _other_labels(rows, of)


def _other_labels(rows: pd.DataFrame, of: pd.DataFrame) -> list[str]:
    stated = rows[rows["label"] != ""]
    other = int((stated["label"].str.casefold() != stated["image_id"].map(of["label"]).str.casefold()).sum())
    return [f"{other} film(s) carry another label in the table than here; the label here counts."] if other else []


def _named_columns(table: pd.DataFrame) -> pd.DataFrame:
    plain = {str(column).strip().lower(): column for column in reversed(table.columns)}
    found = {role: next((plain[name] for name in names if name in plain), None) for role, names in ROLES.items()}
    missing = [role for role in ("image_id", "split") if found[role] is None]
    if missing:
        raise SplitError(
            f"The table lacks the column(s) {', '.join(missing)}; its columns are {', '.join(map(str, table.columns))}."
        )
    return pd.DataFrame({role: table[column].astype(str) if column is not None else "" for role, column in found.items()})


def _image_ids(names: pd.Series[str], dataset: Dataset) -> pd.Series[str]:
    """Ids here of films that are named by id, by path below the data root, by file name, or by file name without suffix."""
    ids = set(dataset.manifest()["image_id"])
    names = names.str.strip()
    if names.isin(ids).all():
        return names
    by_name = _by_file_name(dataset, ids)
    found = {name: {name} if name in ids else by_name.get(name.replace("\\", "/").casefold(), set()) for name in names.unique()}
    counted = Counter(min(len(found[name]), 2) for name in names)
    if counted[0]:
        raise SplitError(
            f"{counted[0]} of {len(names)} films of the table are not in the data set {dataset.name!r}; use its image_id, or the "
            "name of the file that was imported."
        )
    if counted[2]:
        raise SplitError(
            f"{counted[2]} film names of the table fit several files of {dataset.name!r}; name them with their folder."
        )
    return names.map(lambda name: next(iter(found[name])))


def _by_file_name(dataset: Dataset, ids: set[str]) -> dict[str, set[str]]:
    """Everything a film's file may be called -> ids."""
    names: dict[str, set[str]] = defaultdict(set)
    paths = dataset.paths()
    for image, text in zip(paths["image_id"], paths["path"], strict=True):
        path = PurePosixPath(text)
        for name in {text, str(path.with_suffix("")), path.name, path.stem}:
            if image in ids:
                names[name.casefold()].add(image)
    return dict(names)
