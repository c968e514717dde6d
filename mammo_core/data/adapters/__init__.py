"""The data sets that can be imported, and the one question a page asks: what do you understand of this source?

A further data set is a module here with a class that fulfils :class:`~mammo_core.data.adapters.base.Adapter`, entered in
:data:`ADAPTERS`.
"""

from __future__ import annotations

from pathlib import Path

from mammo_core.data.adapters.base import ROW_COLUMNS, Adapter, Evidence, ImportChoices, ImportPlan, LeftOut
from mammo_core.data.adapters.btxrd import BtxrdAdapter
from mammo_core.data.adapters.cbis import CbisAdapter
from mammo_core.data.adapters.cmmd import CmmdAdapter
from mammo_core.data.adapters.dmid import DmidAdapter
from mammo_core.data.adapters.embed import EmbedAdapter
from mammo_core.data.adapters.exams import ExamAdapter
from mammo_core.data.adapters.folders import FolderAdapter
from mammo_core.data.adapters.inbreast import InbreastAdapter
from mammo_core.data.adapters.listing import Listing, list_source
from mammo_core.data.adapters.mias import MiasAdapter
from mammo_core.data.adapters.planning import make_plan
from mammo_core.data.adapters.rsna import RsnaAdapter
from mammo_core.data.adapters.split_manifest import SplitManifestAdapter
from mammo_core.data.adapters.tables import PhantomAdapter, TableAdapter
from mammo_core.data.adapters.vindr import VindrAdapter
from mammo_core.errors import DataError

__all__ = [
    "ADAPTERS",
    "ROW_COLUMNS",
    "Adapter",
    "ImportChoices",
    "ImportPlan",
    "LeftOut",
    "adapter_names",
    "understand",
    "understand_listing",
]

KNOWN_SETS: tuple[Adapter, ...] = (
    PhantomAdapter(),
    RsnaAdapter(),
    VindrAdapter(),
    CbisAdapter(),
    InbreastAdapter(),
    MiasAdapter(),
    CmmdAdapter(),
    EmbedAdapter(),
    DmidAdapter(),
    BtxrdAdapter(),
    ExamAdapter(),
    SplitManifestAdapter(),
)
"""Sets known by their tables; where two are equally sure, the user decides."""
ADAPTERS: tuple[Adapter, ...] = (*KNOWN_SETS, TableAdapter(), FolderAdapter())


def adapter_names() -> list[str]:
    """The words that ``--adapter`` takes, ``auto`` first."""
    return ["auto", *(adapter.name for adapter in ADAPTERS)]


def understand(source: str | Path, choices: ImportChoices | None = None) -> ImportPlan:
    """Work out what a folder or table holds, from names and tables alone; no picture is decoded.

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
    return understand_listing(listing, choices)


def understand_listing(listing: Listing, choices: ImportChoices) -> ImportPlan:
    """As :func:`understand`, of a source that was listed before."""
    if choices.adapter != "auto":
        named = [adapter for adapter in ADAPTERS if adapter.name == choices.adapter]
        if not named:
            raise DataError(f"There is no adapter {choices.adapter!r}; known are {', '.join(adapter_names())}.")
        return make_plan(named[0], listing, choices)
    found = _recognised(listing, choices)
    if not found:
        if listing.tables and listing.tables[0].parent == listing.root:
            return make_plan(TableAdapter(), listing, choices)  # its error names the columns found
        raise DataError(
            f"{len(listing.films)} films were found, but nothing that labels them; expected a table that names the films "
            "(CSV, TSV, Excel or Parquet), or sub-folders named after the classes."
        )
    surest = max(evidence.sure for _, evidence in found)
    best = [(adapter, evidence) for adapter, evidence in found if evidence.sure == surest]
    if len(best) > 1:
        both = "; or ".join(f"{adapter.title} ({evidence.because})" for adapter, evidence in best)
        names = " or ".join(adapter.name for adapter, _ in best)
        raise DataError(f"Two kinds of data set fit: {both}. Choose the adapter ({names}), or name the one folder or table.")
    adapter, evidence = best[0]
    passed_over = [f"{other.title.lower()} ({what.because})" for other, what in found if other is not adapter]
    also = f"; passed over: {', '.join(passed_over)}" if passed_over else ""
    return make_plan(adapter, listing, choices, evidence.because + also)


def _recognised(listing: Listing, choices: ImportChoices) -> list[tuple[Adapter, Evidence]]:
    """Adapters for which something speaks. Any table is looked at as a whole only where no known set is there."""
    for group in (KNOWN_SETS, (TableAdapter(), FolderAdapter())):
        found = [(adapter, adapter.recognises(listing, choices)) for adapter in group]
        sure = [(adapter, evidence) for adapter, evidence in found if evidence is not None]
        if sure:
            return sure
    return []
