"""What the words of a column name mean: which set it speaks of, which quantity, and what is left over."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Role = Literal["train", "val", "test", ""]
Quantity = Literal[
    "loss", "accuracy", "balanced", "error", "score", "recall", "epoch", "step", "lr", "time", "group", "phase", "stage", ""
]

ROLES: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trn", "tr", "trained", "treino"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "eval", "evaluation", "va", "vl"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "te"), "test"),
}
LOSS = frozenset({"loss", "losses", "cost", "crossentropy", "xent", "nll", "bce", "logloss", "perda"})
LOSS_OF_REGRESSION = frozenset({"mse", "mae", "rmse"})
ACCURACY = frozenset({"acc", "accs", "accuracy", "accuracies", "top1", "acc1", "prec1", "oa", "acuracia"})
SCORES = (
    "f1",
    "dice",
    "dsc",
    "auc",
    "auroc",
    "kappa",
    "qwk",
    "iou",
    "miou",
    "jaccard",
    "map50",
    "map",
    "mcc",
    "r2",
    "psnr",
    "ssim",
)
"""Quality measures, better when higher, in the order in which one is taken where a file has no accuracy."""
NOT_TOP1 = frozenset({"top5", "top3", "top2", "acc5", "acc3", "prec5", "topk"})
SUMMARIES = frozenset(
    {"best", "min", "max", "std", "sd", "var", "prev", "delta", "gap", "diff", "smooth", "smoothed"}
    | {"target", "final"}
    | {"scale", "scaler", "coef", "coefficient", "lambda", "ratio"}
)
"""Words that make a column a statistic of the curve, or a setting (the loss scale of mixed precision), not the curve."""
FILLERS = frozenset(
    {
        *("epoch", "mean", "avg", "average", "total", "overall", "history", "hist", "list", "curve", "value", "values", "all"),
        *("per", "metrics", "metric", "cross", "entropy", "ce", "categorical", "sparse", "binary", "full", "main", "set", "b"),
        *("classification", "model", "micro", "running", "online", "s", "class", "score", "rate", "top", "1", "data"),
    }
)
"""Words that do not change which curve it is."""
GROUPS = frozenset(
    {"model", "run", "fold", "seed", "experiment", "exp", "config", "configuration", "arch", "architecture", "trial"}
    | {"version", "variant", "backbone", "optimizer", "method", "network", "kfold", "cell", "task", "net", "ablation"}
)
GROUP_ENDINGS = frozenset({"name", "id", "no", "index", "idx", "number", "num", "key", "type"})
STEPS = frozenset({"step", "steps", "iter", "iters", "iteration", "iterations", "batch", "batches", "it", "update", "updates"})
PLANS = frozenset({"num", "max", "n", "best", "warmup", "total", "save", "eval", "accumulation", "size", "per", "target"})
"""Beside an epoch or step these words name a setting, not a count."""
TIMES = frozenset(
    {"time", "seconds", "sec", "secs", "duration", "elapsed", "runtime", "minutes", "timestamp", "date", "datetime"}
)
EPOCHS = frozenset({"epoch", "epochs", "ep", "epoca", "round"})
GLUED = re.compile(r"^(train|training|tr|valid|validation|val|test|eval|v|t)(loss|losses|acc|accuracy|accs|f1|dice|auc)$")
SHORT = {"v": "val", "t": "train"}


@dataclass(frozen=True)
class Reading:
    """One column name, understood."""

    role: Role
    quantity: Quantity
    left: tuple[str, ...] = ()
    """Words that narrow the quantity down: empty for the plain one, ``('cls',)`` for one part of a loss."""
    name: str = ""
    """Which score, or which class a recall is of."""
    twin: Literal["step", "epoch", ""] = ""
    summary: bool = False


def words_of(name: str) -> list[str]:
    """Lower-case words of a column name: ``trainLoss``, ``Train Loss``, ``Loss/train`` and ``trainloss`` all give both words."""
    name = re.sub(r"m(AP|I[oO]U)|M(I[oO]U)|\bI[oO]U", lambda match: match.group().lower(), name.strip().replace("@", ""))
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    words: list[str] = []
    for word in re.split(r"[^a-z0-9]+", text.lower()):
        glued = GLUED.match(word)
        words += [SHORT.get(glued.group(1), glued.group(1)), glued.group(2)] if glued else [word] if word else []
    if len(words) == 2 and words[0] in SHORT and words[1] in LOSS | ACCURACY:
        words[0] = SHORT[words[0]]
    return words


def read_name(name: str) -> Reading:
    """What a column of this name holds; quantity ``''`` where it is not known."""
    words = words_of(name)
    role: Role = next((ROLES[word] for word in words if word in ROLES), "")
    on_training_data = {"train", "eval"} <= set(words)
    role = "train" if on_training_data else role
    rest = [word for word in words if word not in ROLES]
    summary = bool(SUMMARIES & set(rest))
    twin: Literal["step", "epoch", ""] = ""
    if len(rest) > 1 and rest[-1] in ("step", "epoch"):
        twin = "step" if rest[-1] == "step" else "epoch"
        rest = rest[:-1]
    quantity, used, label = _quantity(rest, role)
    # A class may be called by any word ("Recall B"), so nothing is filler beside a recall.
    fillers = frozenset({"class"}) if quantity == "recall" else FILLERS
    left = tuple(word for word in rest if word not in used and word not in fillers) + ("eval",) * on_training_data
    if quantity in ("epoch", "step", "time", "group", "phase", "stage"):
        return Reading(role, quantity)
    return Reading(role, quantity, left, label, twin, summary)


def _quantity(rest: list[str], role: Role) -> tuple[Quantity, frozenset[str], str]:
    """The quantity, the words that named it, and the score's name."""
    found = frozenset(rest)
    if found & LOSS or {"cross", "entropy"} <= found:
        return "loss", found & LOSS, ""
    if "balanced" in found and found & ACCURACY:
        return "balanced", found & ACCURACY | {"balanced"}, ""
    if found & ACCURACY and not found & NOT_TOP1 and "5" not in found:
        return "accuracy", found & ACCURACY, ""
    if found & {"error", "err", "errors"} and not found & NOT_TOP1 and not found & {"squared", "absolute"}:
        return "error", frozenset({"error", "err", "errors"}), ""
    if found & {"recall", "sensitivity"}:
        return "recall", frozenset({"recall", "sensitivity"}), ""
    for score in SCORES:
        if any(word == score or word.rstrip("0123456789") == score for word in rest):
            return "score", frozenset(word for word in rest if word.startswith(score)), score
    if found & LOSS_OF_REGRESSION:
        return "loss", found & LOSS_OF_REGRESSION, ""
    return _bookkeeping(rest, found, role), frozenset(), ""


def _bookkeeping(rest: list[str], found: frozenset[str], role: Role) -> Quantity:
    """Columns that order or group the rows instead of measuring something."""
    if found & {"lr", "lrs"} or {"learning", "rate"} <= found:
        return "lr"
    if found & TIMES:
        return "time"
    if role or not rest:
        return ""
    if found & PLANS:
        return ""
    counts: tuple[tuple[Quantity, frozenset[str]], ...] = (
        ("epoch", EPOCHS),
        ("step", STEPS),
        ("stage", frozenset({"stage"})),
        ("phase", frozenset({"phase", "split", "mode", "subset"})),
    )
    for quantity, words in counts:
        if found & words and len(rest) <= 2 and not ("ep" in found and len(rest) > 1 and not found & GROUP_ENDINGS):
            return quantity
    if rest[0] in GROUPS and set(rest[1:]) <= GROUP_ENDINGS | GROUPS:
        return "group"
    return "phase" if found & {"set", "dataset", "partition", "type"} and len(rest) == 1 else ""
