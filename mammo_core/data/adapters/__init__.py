"""The data sets that can be imported, and the one question a page asks: what do you understand of this source?

A further data set is a module here with a class that fulfils :class:`~mammo_core.data.adapters.base.Adapter`, entered in
:data:`ADAPTERS`.
"""

from __future__ import annotations

from pathlib import Path

from mammo_core.data.adapters.base import ROW_COLUMNS, Adapter, ImportChoices, ImportPlan, LeftOut
from mammo_core.data.adapters.folders import FolderAdapter
from mammo_core.data.adapters.listing import list_source
from mammo_core.data.adapters.planning import make_plan
from mammo_core.data.adapters.tables import PhantomAdapter, TableAdapter
from mammo_core.errors import DataError

__all__ = ["ADAPTERS", "ROW_COLUMNS", "Adapter", "ImportChoices", "ImportPlan", "LeftOut", "adapter_names", "understand"]

ADAPTERS: tuple[Adapter, ...] = (PhantomAdapter(), TableAdapter(), FolderAdapter())
"""In the order in which equals are preferred."""


def adapter_names() -> list[str]:
    """The words that ``--adapter`` takes, ``auto`` first."""
    return ["auto", *(adapter.name for adapter in ADAPTERS)]


def understand(source: str | Path, choices: ImportChoices | None = None) -> ImportPlan:
    """Work out what a folder or table holds, from names and tables alone; no film is opened.

    Parameters
    ----------
    source : path
        A folder of films (with a table in or beside it, or with folders named after classes), or the table itself.
    choices : ImportChoices
        What the user settled; the rest is worked out.

    Raises
    ------
    DataError
        No films, nothing that labels them, a needed column missing, or two answers that fit: the text says what was found and
        which choice settles it.
    """
    choices = choices or ImportChoices()
    listing = list_source(Path(source), choices.root)
    if choices.adapter != "auto":
        named = [adapter for adapter in ADAPTERS if adapter.name == choices.adapter]
        if not named:
            raise DataError(f"There is no adapter {choices.adapter!r}; known are {', '.join(adapter_names())}.")
        return make_plan(named[0], listing, choices)
    sure = [adapter.recognises(listing, choices) for adapter in ADAPTERS]
    if max(sure) == 0:
        if listing.tables and listing.tables[0].parent == listing.root:
            return make_plan(TableAdapter(), listing, choices)  # its error names the columns found
        raise DataError(
            f"{len(listing.films)} films were found, but nothing that labels them; expected a table that names the films "
            "(CSV, TSV or Excel), or sub-folders named after the classes."
        )
    return make_plan(ADAPTERS[sure.index(max(sure))], listing, choices)
