"""Which films belong together: those of one patient, one exam, of identical pixels, or nearly so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = npt.NDArray[np.int64]
Pairs = Collection[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Links:
    """What is known, beside the manifest, about films that belong together. ``None`` where it was not looked for."""

    pixel_hashes: Mapping[str, str] | None = None
    """``image_id`` -> SHA-256 of the decoded pixels; may lack films."""
    near_pairs: Pairs | None = None
    """Pairs of ``image_id`` that show nearly the same picture; may name films that are not in the manifest."""
    patients_known: bool = True
    """Whether ``patient_id`` stands for patients, and not for exams or single films for want of better."""


def group_films(manifest: pd.DataFrame, pixel_hashes: Mapping[str, str], near_pairs: Pairs = ()) -> pd.Series[str]:
    """The group of each film: its patient, joined with every patient who shares an exam or a (nearly) identical film.

    Parameters
    ----------
    manifest : DataFrame with ``image_id`` and ``patient_id``, and perhaps ``exam_id``
    pixel_hashes : mapping of image_id to SHA-256 of the decoded pixels; may lack films
    near_pairs : pairs of image_id; those with a film outside the manifest are ignored

    Returns
    -------
    Series of str, index as ``manifest``
        The smallest ``patient_id`` of the group, so that it does not depend on the order of rows.
    """
    codes, names = pd.factorize(manifest["patient_id"], sort=True)
    patient = codes.astype(np.int64)
    edges = list(_edges(manifest, patient, pixel_hashes, near_pairs))
    ends = np.concatenate(edges, axis=1) if edges else np.zeros((2, 0), dtype=np.int64)
    graph = coo_array((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=(len(names), len(names)))
    _, component = connected_components(graph, directed=False)
    # The codes follow the order of the names, so the first code of a component has its smallest name.
    first = np.unique(component, return_index=True)[1]
    return pd.Series(np.asarray(names, dtype=object)[first[component[patient]]], index=manifest.index, dtype=str)


def _edges(manifest: pd.DataFrame, patient: Ints, hashes: Mapping[str, str], near_pairs: Pairs) -> Iterator[Ints]:
    """Pairs of patient codes that belong together, of shape (2, n) each."""
    if "exam_id" in manifest.columns:
        yield _joined_by(manifest["exam_id"].to_numpy(dtype=object), patient)
    images = manifest["image_id"].tolist()
    if hashes:
        yield _joined_by(np.array([hashes.get(image, "") for image in images], dtype=object), patient)
    if near_pairs:
        of = dict(zip(images, patient.tolist(), strict=True))
        known = [(of[one], of[other]) for one, other in near_pairs if one in of and other in of]
        yield np.array(known, dtype=np.int64).reshape(-1, 2).T


def _joined_by(keys: npt.NDArray[np.object_], patient: Ints) -> Ints:
    """Each film's patient beside the patient of the first film with the same key; an empty key joins nobody."""
    codes, _ = pd.factorize(keys)
    used = np.array([bool(key) for key in keys], dtype=np.bool_)
    _, first, back = np.unique(codes[used], return_index=True, return_inverse=True)
    members = patient[used]
    return np.stack([members, members[first[back]]]) if len(members) else np.zeros((2, 0), dtype=np.int64)
