"""Placing whole groups into parts so that every part has its share of every class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ALGORITHM = "stratified-groups-2"
"""Changes whenever the same seed would give another split."""

TRIES = 200
"""Random placements that are judged at most, on labels and sizes only."""
SWAPS = 2000
GOOD_ENOUGH = 1e-5
"""A mean squared relative error that needs no more placements and swaps: 0.3 percent, as large data sets have at once."""
ROUNDING = 1e-12
"""Costs nearer than this are equal: the last bits of a sum depend on the processor, and the split must not."""


def allocate(strata: Ints, cells: Ints, films: Ints, shares: tuple[float, ...], seed: int) -> Ints:
    """Place each group in one part; many random placements are judged on labels and sizes only, and the best is polished.

    A placement deals the groups of each stratum out in the ratio of the shares, spread evenly over its cells (centres). With at
    least as many groups as parts, a stratum reaches every part. The best of 200 is kept; then pairs of groups of the same stratum
    and cell change places (2000 tries) where that helps, which evens out patients with few and with many films. Best is the
    placement with the least sum of the mean squared relative errors of (films of a class in a part), (films in a part) and
    (groups in a part). scikit-learn's ``StratifiedGroupKFold`` balances films only, can leave a rare class out of a fold, and
    knows no unequal shares. Last, single groups are moved where a part still lacks a class that its patients never have as label.

    Parameters
    ----------
    strata : ndarray of shape (n_groups,), int
        The group's label, for example the worst or the commonest of its films.
    cells : ndarray of shape (n_groups,), int
        The group's centre; balanced where possible, never at the cost of the classes.
    films : ndarray of shape (n_groups, n_classes), counts
        Films of each class in the group.
    shares : tuple of float
        Wanted share of each part, above 0, summing to 1.
    seed : int in [0, 2**32)

    Returns
    -------
    ndarray of shape (n_groups,), int in [0, n_parts)
        The part of each group. Depends on the order of the groups: sort them first.
    """
    best = _best_of(strata, cells, films, np.asarray(shares), seed)
    return _repair(best, films, len(shares)) if _absent(best, films, len(shares)).any() else best


def _best_of(strata: Ints, cells: Ints, films: Ints, shares: Floats, seed: int) -> Ints:
    best: Ints = np.zeros(len(strata), dtype=np.int64)
    best_cost = np.inf
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for attempt in range(TRIES):
        # RandomState, since its stream is frozen for good: the same seed must give the same split in later versions.
        random = np.random.RandomState([seed, attempt])
        parts = np.empty(len(strata), dtype=np.int64)
        for groups in members:
            order = groups[np.lexsort((random.random_sample(len(groups)), cells[groups]))]
            parts[order] = _dealt(len(groups), shares, random)
        cost = _cost(_per_part(parts, films, len(shares)), np.bincount(parts, minlength=len(shares)), shares)
        if cost < best_cost - ROUNDING:
            best, best_cost = parts, cost
        if best_cost < GOOD_ENOUGH:
            break
    return _polished(best, strata, cells, films, shares, np.random.RandomState([seed, TRIES]))


def _polished(parts: Ints, strata: Ints, cells: Ints, films: Ints, shares: Floats, random: np.random.RandomState) -> Ints:
    """Let pairs of one stratum and cell change places where that lowers the cost."""
    alike = np.unique(np.stack([strata, cells]), axis=1, return_inverse=True)[1].ravel()
    order = np.argsort(alike, kind="stable")
    start, size = np.searchsorted(alike[order], alike), np.bincount(alike)[alike]
    first = random.randint(0, len(parts), SWAPS)
    second = order[start[first] + (random.random_sample(SWAPS) * size[first]).astype(np.int64)]
    per_part = _per_part(parts, films, len(shares))
    groups = np.bincount(parts, minlength=len(shares))
    cost = _cost(per_part, groups, shares)
    parts = parts.copy()
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        if cost < GOOD_ENOUGH:
            break
        here, there = parts[one], parts[other]
        gain = films[other] - films[one]
        if here == there or not gain.any():
            continue
        changed = per_part.copy()
        changed[here] += gain
        changed[there] -= gain
        changed_cost = _cost(changed, groups, shares)
        if changed_cost < cost - ROUNDING:
            per_part, cost = changed, changed_cost
            parts[one], parts[other] = there, here
    return parts


def _dealt(count: int, shares: Floats, random: np.random.RandomState) -> Ints:
    """The part of each of ``count`` groups in order: numbers as the shares ask, evenly interleaved."""
    sizes = _sizes(count, shares, random)
    keys = [(np.arange(size) + random.random_sample()) / size for size in sizes if size]
    parts = np.repeat(np.arange(len(shares)), sizes)
    return parts[np.argsort(np.concatenate(keys), kind="stable")]


def _sizes(count: int, shares: Floats, random: np.random.RandomState) -> Ints:
    """Whole numbers near ``count * shares``, each at least 1 where ``count`` allows; what is left over goes partly by chance."""
    parts = len(shares)
    if count <= parts:
        sizes = np.zeros(parts, dtype=np.int64)
        sizes[np.argsort(-shares, kind="stable")[:count]] = 1
        return sizes
    exact = count * shares
    sizes = np.maximum(np.floor(exact), 1).astype(np.int64)
    while sizes.sum() > count:
        sizes[np.argmax(sizes)] -= 1
    left = count - int(sizes.sum())
    while left:
        wishes = exact - sizes + 0.5 * random.random_sample(parts)
        sizes[np.argmax(wishes)] += 1
        left -= 1
    return sizes


def imbalance(parts: Ints, films: Ints, shares: npt.ArrayLike) -> float:
    """How far a placement is from the wanted one, for reports and tests; 0 is perfect.

    max over classes and parts of |share of the class in the part - share overall| / share overall, plus the worst relative error
    of a part's films, plus the same for its groups.
    """
    wanted = np.asarray(shares, dtype=np.float64)
    per_part = _per_part(parts, films, len(wanted))
    total, sizes = per_part.sum(axis=0), per_part.sum(axis=1)
    ratio = per_part[:, total > 0] * (sizes.sum() / total[total > 0]) / np.maximum(sizes, 1)[:, None]
    groups = np.bincount(parts, minlength=len(wanted)) / len(parts)
    return float(np.abs(ratio - 1).max() + np.abs(sizes / sizes.sum() / wanted - 1).max() + np.abs(groups / wanted - 1).max())


def _cost(per_part: Ints, groups: Ints, shares: Floats) -> float:
    """What :func:`allocate` makes small: squares, since swaps get stuck on the maxima of :func:`imbalance`.

    Parameters
    ----------
    per_part : ndarray of shape (n_parts, n_classes), films
    groups : ndarray of shape (n_parts,), groups
    """
    total = per_part.sum(axis=0)
    class_error = per_part[:, total > 0] / (shares[:, None] * total[total > 0]) - 1
    film_error = per_part.sum(axis=1) / (shares * total.sum()) - 1
    group_error = groups / (shares * groups.sum()) - 1
    absent = np.count_nonzero(class_error == -1)
    return float((class_error**2).mean() + (film_error**2).mean() + (group_error**2).mean() + 10 * absent)


def _per_part(parts: Ints, films: Ints, n_parts: int) -> Ints:
    return np.stack([films[parts == part].sum(axis=0) for part in range(n_parts)])


def _absent(parts: Ints, films: Ints, n_parts: int) -> npt.NDArray[np.bool_]:
    """Which class is absent from which part, of shape (n_parts, n_classes); classes without any film never are."""
    absent: npt.NDArray[np.bool_] = (_per_part(parts, films, n_parts) == 0) & (films.sum(axis=0) > 0)
    return absent


def _repair(parts: Ints, films: Ints, n_parts: int) -> Ints:
    """Move single groups to parts that lack one of their classes, where no part loses its last group of a class."""
    parts = parts.copy()
    has = films > 0
    for _ in range(n_parts * films.shape[1]):
        lacking = np.argwhere(_absent(parts, films, n_parts))
        moved = any(_move_one(parts, has, films, int(part), int(klass)) for part, klass in lacking)
        if not moved:
            break
    return parts


def _move_one(parts: Ints, has: npt.NDArray[np.bool_], films: Ints, target: int, klass: int) -> bool:
    """Move the smallest group with ``klass`` that its part can spare to ``target``; ``False`` where there is none."""
    for group in sorted(np.flatnonzero(has[:, klass]), key=lambda group: (films[group].sum(), group)):
        left = has[(parts == parts[group])].sum(axis=0) - has[group]
        if parts[group] != target and (left[has[group]] > 0).all():
            parts[group] = target
            return True
    return False
