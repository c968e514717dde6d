"""Sentences made from findings: what was seen with its numbers, and the headline of a verdict. Advice stands in ``advice``.

A text is a template over the finding's evidence. ``{x:n}`` shows a number, ``{x:f}`` a fraction with three decimals, ``{x:p}``
a share as a percentage; ``first`` and ``last`` are the epochs of the finding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mammo_core.analysis.diagnosis.finding import Finding, Verdict
from mammo_core.runs.history import place_words

Template = str | Callable[[Mapping[str, Any]], str]


def number(value: Any) -> str:
    """Three significant digits, thousands with commas, no trailing noise; a dash for what is not known."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "-" if value is None else str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def fraction(value: Any) -> str:
    """Accuracies and recalls: three decimals."""
    return f"{value:.3f}" if isinstance(value, int | float) else "-"


def percent(value: Any) -> str:
    """A share as a whole percentage, with one digit below 2 %."""
    if not isinstance(value, int | float):
        return "-"
    size = abs(value) * 100
    return f"{size:.0f} %" if size >= 2 else f"{size:.1f} %"


SHOWN: dict[str, Callable[[Any], str]] = {"n": number, "f": fraction, "p": percent, "": str}


class _Shown:
    """A value that formats itself by the letters of the templates."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __format__(self, form: str) -> str:
        return SHOWN[form](self.value)


class _Values(dict[str, Any]):
    def __missing__(self, key: str) -> _Shown:
        return _Shown(None)


def _fill(template: str, values: Mapping[str, Any]) -> str:
    return template.format_map(_Values({key: _Shown(value) for key, value in values.items()}))


# ---- texts that depend on what kind of evidence there is ---------------------------------------------------------------


def _losses(e: Mapping[str, Any]) -> str:
    names = {"train_loss": "training loss", "val_loss": "validation loss"}
    return "The " + " and ".join(names.get(word, word) for word in str(e.get("what")).split())


def _diverged(e: Mapping[str, Any]) -> str:
    if e.get("kind") == "non_finite":
        return (
            _losses(e)
            + " became NaN or infinite at epoch {first:n}"
            + (" (step {step:n})." if e.get("step") is not None else ".")
        )
    if e.get("kind") == "level":
        return "The {which} loss ends at {end:n} while the accuracy stays at {accuracy:f}: nothing was learnt."
    if e.get("kind") == "relapse":
        lost = "The training loss, once {low:n}, is back at {end:n}, near its start of {start:n}"
        return lost + ", and the validation loss rose with it: what was learnt is lost."
    if "which" in e:
        return "The {which} loss went from {start:n} to {end:n} instead of falling."
    return "The training loss reached {train_loss:n} at epoch {first:n}, from {start:n} at the start."


def _collapse(e: Mapping[str, Any]) -> str:
    measure = e.get("measure", "accuracy")
    if e.get("constant"):
        share = e["share_of_epochs"]
        when = "in every epoch" if share >= 0.999 else "in {share_of_epochs:p} of the epochs"
        exact = "to the last digit" if e.get("exactly", 1.0) >= share else "give or take one case"
        return f"The validation {measure} is {{accuracy:f}} {when}, {exact}: one class is predicted for everything."
    if "before" in e:
        return f"The validation {measure} fell from {{before:f}} to a constant {{after:f}} while the training loss rose."
    if "class" in e:
        share = "; accuracy {accuracy:f} = its share {class_share:f}, kappa 0" if "class_share" in e else ""
        said = "{predicted_share:p}" if "predicted_share" in e else "Nearly all"
        which = " (the {which} class)" if e.get("which") in ("majority", "minority") else ""
        return said + " of the predictions are {class}" + which + share + "."
    return "Balanced accuracy {balanced_accuracy:f} is no better than guessing ({chance:f})."


def _unstable(e: Mapping[str, Any]) -> str:
    parts = ["the validation loss jumps by {loss_noise:p} of its level from epoch to epoch"]
    if e.get("jump") is not None:
        parts.append("large jumps are {jump:p} of all that was gained")
    if "accuracy_noise" in e:
        parts.append("the accuracy by {accuracy_noise:f}")
    if e.get("accuracy_noise_in_se"):
        parts.append("the accuracy by {accuracy_noise_in_se:n} sampling errors")
    return f"Unstable validation: {', '.join(parts)}."


def _overfit(e: Mapping[str, Any]) -> str:
    gap = "; training accuracy is {gap:f} above validation" if e.get("gap", 0) > 0 else ""
    if "best_val_loss" in e:
        train = ", while the training loss fell to {last_train_loss:n}" if "last_train_loss" in e else ""
        change = "The validation loss rose {rise:p} after epoch {first:n}, from {best_val_loss:n} to {last_val_loss:n}"
        return change + train + gap + "."
    if "growth" in e:
        return "Training accuracy is {gap:f} above validation, and the gap grows by {growth:f} an epoch."
    if "accuracy_fall" in e:
        return "The validation accuracy fell {accuracy_fall:f} below its best of epoch {first:n}" + gap + "."
    if "loss_ratio" in e:
        level = "The validation loss stands at {last_val_loss:n} while the training loss went down to {last_train_loss:n}"
        return level + gap + ": the training set is being learnt by heart."
    return "Training accuracy is {gap:f} above validation accuracy " + ("so far." if e.get("so_far") else "at the end.")


def _too_few(e: Mapping[str, Any]) -> str:
    planned = " of {planned:n}" if e.get("planned") else ""
    is_last = e.get("best_epoch") == e.get("last_epoch")
    last = "latest" if e.get("so_far") else "last"
    best = f"the best epoch is the {last}" if is_last else "the best is epoch {best_epoch:n}"
    loss = "training error (1 - accuracy)" if e.get("train_error_only") else "training loss"
    what = (
        f"{loss} still fell {{train_slope:p}} an epoch"
        if e.get("train_slope", 0) < 0
        else "validation loss still fell {val_slope:p} an epoch"
    )
    if e.get("train_slope", 0) < -1:  # more than all of the little that is left
        what = what.replace(" {train_slope:p} an epoch", "").replace("still fell", "was still falling")
    when = "by" if e.get("so_far") else "when training ended at"
    return f"The {what} {when} epoch {{last_epoch:n}}{planned}; {best}."


def _plateau(e: Mapping[str, Any]) -> str:
    flat = "The validation loss changed by {val_slope:p} an epoch in the last epochs"
    if e.get("converged"):
        return flat + ": it has levelled" + ("; it did so early, and training since then memorises." if e.get("early") else ".")
    fell = "fell by only {drop:p}" if e["drop"] >= 0.001 else "never fell"
    late = e.get("rows_without_val_loss")
    where = "over the {rows:n} rows that have one (the first {rows_without_val_loss:n} have none)" if late else "in all"
    if "accuracy_gain" in e:
        when = " before and during them" if late else ""
        return f"{flat} and {fell} {where}; but the accuracy rose from {{accuracy_start:f}} to {{accuracy:f}}{when}."
    if "accuracy_start" in e:
        high = "the accuracy is {accuracy:f}, and was {accuracy_start:f} from the start, so there was little left to learn"
        return f"{flat} and {fell} {where}; {high}."
    return f"{flat} and {fell} {where}: hardly anything was learnt."


def _underfit(e: Mapping[str, Any]) -> str:
    if "no_skill_loss" in e:
        return "The training loss {train_loss:n} is flat and close to guessing ({no_skill_loss:n})."
    return "The validation loss fell by only {drop:p} in all, {late_share:p} of that in the last quarter: learning is very slow."


def _too_little(e: Mapping[str, Any]) -> str:
    if e.get("reason") == "no_validation":
        return "There is neither a validation loss nor a validation accuracy: learning cannot be told from memorising."
    if e.get("reason") == "cases":
        return "The validation accuracy moves in steps of 1/{cases:n}: about {cases:n} cases decide nothing."
    return "The history has {rows:n} row(s); at least 4 can be judged."


def _recall(lead: str) -> Callable[[Mapping[str, Any]], str]:
    def text(e: Mapping[str, Any]) -> str:
        interval = f" (95 % CI {e['ci_low']:.2f}-{e['ci_high']:.2f})" if "ci_low" in e else ""
        return f"{lead}: class {{class}}: " + ("{cases:n} cases, " if "cases" in e else "") + "recall {recall:f}" + interval + "."

    return text


def _unjudgeable(e: Mapping[str, Any]) -> str:
    return _recall("Too few cases to judge" if e.get("few") else "Too few cases to trust a single figure")(e)


def _val_too_small(e: Mapping[str, Any]) -> str:
    about = "about " if e.get("estimated") else ""
    return f"The accuracy {{accuracy:f}} on {about}{{cases:n}} cases is known to ±{e['half_width']:.3f} only."


TEXTS: dict[str, Template] = {
    "DIVERGED": _diverged,
    "NON_FINITE_EPOCH": lambda e: (
        _losses(e) + " was NaN or infinite in {rows:n} row(s), first at epoch {first:n}, and recovered."
    ),
    "HOT_START": "First-epoch training loss {train_loss:n} = {ratio:n} x ln {classes:n}: worse than guessing.",
    "COLLAPSE": _collapse,
    "COLLAPSE_SUDDEN": "Balanced accuracy fell from {before:f} to {after:f} at epoch {first:n}.",
    "WORSE_THAN_PRIOR": (
        "The best validation loss {val_loss:n} is not below {no_skill_loss:n}, the loss of always quoting the class shares; "
        "skill {skill:f}."
    ),
    "UNSTABLE": _unstable,
    "OVERFIT_SEVERE": _overfit,
    "OVERFIT_MILD": _overfit,
    "VAL_LOSS_RISING": "The validation loss rises while its accuracy holds: more over-confidence, not worse ranking.",
    "UNDERFIT": _underfit,
    "PLATEAU": _plateau,
    "TOO_FEW_EPOCHS": _too_few,
    "BEST_IS_LAST": lambda e: "The best epoch, {last:n}, is the " + ("latest" if e.get("so_far") else "last") + " one.",
    "TOO_LITTLE": _too_little,
    "SHORT_RUN": "Only {rows:n} epoch(s): the rules on noise are off and every verdict is less sure.",
    "CLASS_ZERO": _recall("Never recognised at the best epoch and the one before"),
    "CLASS_WEAK": _recall("Hardly recognised"),
    "CLASS_UNJUDGEABLE": _unjudgeable,
    "CLASS_SEESAW": "Recall of {class} went from {before:f} to {after:f} at epoch {last:n}, {jump_in_se:n} sampling errors.",
    "CRITERION_MISMATCH": (
        "Epoch {best_by_measure:n} is better by {gain:f} in {measure} than epoch {best_by_loss:n} with the lowest loss."
    ),
    "VAL_TOO_SMALL": _val_too_small,
    "DATA_LEAK_SUSPECT": "Validation accuracy {accuracy:f} on {cases:n} cases is too good to be taken on trust.",
    "LR_EXHAUSTED": "The learning rate was down to {share:p} of its peak at epoch {epoch:n} of {planned:n}.",
    "LR_HORIZON_MISMATCH": "The learning rates follow a cosine over {fitted:n} epochs; {planned:n} were configured.",
    "LR_WRAP": "The learning rate rose from {floor:n} to {after:n} after its floor at epoch {floor_epoch:n}.",
    "LR_CONST": "The learning rate stayed at {lr:n} although a {scheduler} schedule was set.",
    "NO_WARMUP": ("Epoch 1 ran at {start:n}, the peak of the learning rate, although {warmup_epochs:n} warm-up epochs were set."),
    "LR_PER_STEP": "The learning rate reached its floor by epoch {epoch:n} of {planned:n} planned.",
    "EARLY_STOP_INACTIVE": "Early stopping could not act: patience {patience:n}, {epochs:n} epochs.",
    "APPENDED_RUNS": (
        "The file holds {runs:n} runs, one after the other; rows {first_row:n} to {last_row:n}, the longest, were judged."
    ),
    "HEALTHY": "The validation loss fell by {drop:p} to {val_loss:n} at {best_place}.",
}


def describe(finding: Finding) -> str:
    """One sentence on what was seen, with its numbers."""
    template = TEXTS[finding.id]
    first, last = (_place(epoch, row) for epoch, row in zip(finding.epochs, finding.rows, strict=True))
    place: dict[str, Any] = {
        "first": first,
        "last": last,
        "best_place": place_words(finding.evidence.get("best_epoch"), _best_row(finding)),
    }
    place |= {"first_row": finding.rows[0], "last_row": finding.rows[1]}
    evidence = {**finding.evidence, "so_far": finding.so_far}
    text = _fill(template if isinstance(template, str) else template(evidence), place | evidence)
    # Without a validation loss the rules judge 1 - accuracy in its place, and the sentence must say so.
    return text.replace("validation loss", str(evidence.get("curve", "validation loss")))


def _place(epoch: float, row: int) -> str:
    """What stands behind the word "epoch": its number, and the row of the file where that is another."""
    return place_words(epoch, row).removeprefix("epoch ")


def _best_row(finding: Finding) -> int:
    return int(finding.evidence.get("best_row", finding.evidence.get("best_epoch") or 0))


ALIKE = {"CLASS_ZERO": "class", "CLASS_WEAK": "class", "CLASS_UNJUDGEABLE": "class", "CLASS_SEESAW": "class"}
"""Findings of which there can be one for every class."""
MOST_LISTED = 12


def merged(findings: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Findings, as ``Finding.to_json`` gives them, with those that differ in their class only as one: severity, text, advice."""
    lines: list[dict[str, str]] = []
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for finding in findings:
        alike = finding["id"] in ALIKE
        key = (finding["id"], finding["text"].partition(":")[0] if alike else str(len(groups)))
        groups.setdefault(key, []).append(finding)
    for (finding_id, lead), members in groups.items():
        text = members[0]["text"]
        if finding_id in ALIKE and len(members) > 1 and finding_id != "CLASS_SEESAW":
            names = [str(member["evidence"].get("class")) for member in members]
            more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
            text = f"{lead}: {len(names)} classes ({', '.join(names[:MOST_LISTED])}{more})."
        shown = [text]
        if finding_id == "CLASS_SEESAW":
            shown = [member["text"] for member in members]
        lines += [{"severity": members[0]["severity"], "text": text, "advice": members[0]["advice"]} for text in shown]
    return lines


LEADS: dict[Verdict, str] = {
    "DIVERGED": "Diverged",
    "COLLAPSE": "Collapsed to one class",
    "INCONCLUSIVE": "Too little to judge",
    "UNSTABLE": "Unstable validation",
    "OVERFIT_SEVERE": "Severely overfitted",
    "OVERFIT_MILD": "Somewhat overfitted",
    "UNDERFIT": "Underfitted",
    "TOO_FEW_EPOCHS": "Not converged",
    "PLATEAU": "On a plateau",
    "HEALTHY": "Converged",
}


AGAINST: dict[str, str] = {
    "OVERFIT_MILD": "the accuracy gap between training and validation grows by {growth:f} an epoch",
    "HOT_START": "the first epoch was worse than guessing",
    "NON_FINITE_EPOCH": "a loss was once NaN or infinite",
    "VAL_LOSS_RISING": "the validation loss rises at the end",
    "CRITERION_MISMATCH": "another epoch is better in {measure}",
    "CLASS_UNJUDGEABLE": "some classes have too few cases",
    "CLASS_SEESAW": "the recall of {class} jumps",
    "LR_HORIZON_MISMATCH": "the learning rate follows another length",
    "LR_WRAP": "the learning rate rose again",
    "LR_CONST": "the learning rate never changed",
    "NO_WARMUP": "the warm-up was not applied",
    "LR_PER_STEP": "the learning rate was spent early",
    "VAL_TOO_SMALL": "the accuracy rests on few cases",
}
"""What speaks against "converged" without forbidding it, as the end of its sentence."""
MOST_AGAINST = 2


def reservations(findings: Sequence[Finding]) -> str:
    """``, but the gap grows by 0.012 an epoch.``, or that nothing speaks against it."""
    found = {f.id: _fill(AGAINST[f.id], f.evidence) for f in findings if f.id in AGAINST}
    clauses = [found[finding_id] for finding_id in AGAINST if finding_id in found]
    if not clauses:
        return " and nothing speaks against it."
    return f", but {' and '.join(clauses[:MOST_AGAINST])}."


def headline(verdict: Verdict, main: Finding | None, exhausted: bool = False, lead: str = "") -> str:
    """The verdict in one plain sentence with its evidence; ``exhausted`` where the learning rate was used up early."""
    lead = lead or LEADS[verdict]
    if main is None:
        return f"{lead}."
    sentence = describe(main)
    if main.id == "TOO_FEW_EPOCHS":
        sentence = sentence.partition(";")[0] + "."
        sentence = sentence.replace("when training ended", "when the schedule ended") if exhausted else sentence
    sentence = sentence.removeprefix("Unstable validation: ").removeprefix("The ").strip()
    return f"{lead}: {sentence[:1].lower()}{sentence[1:]}"
