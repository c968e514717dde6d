"""Checklist sentences on data, partition and model: each takes the runs of one experiment and says what their files hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mammo_core.analysis.finished import split_hash
from mammo_core.report.run_facts import NOT_RECORDED, RunFacts
from mammo_core.report.split_words import left_out_words, override_words, patient_words, shared_words, warning_words

Study = Sequence[RunFacts]

SETTINGS = (
    *("epochs", "warmup_epochs", "early_stopping_patience", "optimizer", "lr", "min_lr", "weight_decay", "batch_size"),
    *("class_weights", "label_smoothing", "dropout", "augment"),
    *("view", "sampler", "mixup", "backbone_lr_factor", "ema_decay", "loss", "precision"),
)


def each(study: Study, tell: Callable[[RunFacts], str]) -> str:
    """One sentence for all runs where they agree, else one a run."""
    told = {facts.run.id: tell(facts) for facts in study}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return "; ".join(f"{run}: {text}" for run, text in told.items())


# ---- data -----------------------------------------------------------------------------------------------------------------


def data_source(study: Study) -> str:
    return each(study, _data_source)


def _data_source(facts: RunFacts) -> str:
    counts = facts.known.dataset.get("counts") or {}
    told = f"Data set {facts.config.dataset or NOT_RECORDED}"
    if counts:
        told += f": {counts.get('films')} films, {counts.get('exams')} exams, {counts.get('patients')} patients"
        centres = counts.get("per_center") or {}
        told += f"; centres: {pairs(centres)}" if centres else ""
    patient = facts.known.dataset.get("patient_statement")
    synthetic = {True: "synthetic, made by a program", False: "not marked as synthetic", None: NOT_RECORDED}[facts.synthetic]
    return f"{told}. Films: {synthetic}." + (f" {patient}" if patient else "")


def pairs(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_films(value)}" for name, value in counts.items())


def _films(value: Any) -> str:
    """A count of films as split.json (``{"films", "patients"}``) or summary.json (a number) writes it."""
    if isinstance(value, Mapping):
        return f"{value.get('films', NOT_RECORDED)} films of {value.get('patients', NOT_RECORDED)} patients"
    return str(value)


def left_out(study: Study) -> str:
    return each(study, _left_out)


def _left_out(facts: RunFacts) -> str:
    dataset, proof = facts.known.dataset, facts.split.get("proof") or {}
    reasons = [
        f"{entry.get('count')} ({entry.get('reason')})" for entry in dataset.get("left_out", []) if isinstance(entry, dict)
    ]
    at_import = (", ".join(reasons) or "none") if dataset else NOT_RECORDED
    unreadable = dataset.get("unreadable", NOT_RECORDED) if dataset else NOT_RECORDED
    in_training = getattr(facts.summary, "left_out", None)
    return (
        f"At import: {at_import}; unreadable films: {unreadable}. {left_out_words(facts.split)} Films in no partition: "
        f"{proof.get('films_unplaced', NOT_RECORDED)}; films that could not be prepared for training: "
        f"{NOT_RECORDED if in_training is None else in_training}."
    )


def missing(study: Study) -> str:
    return f"{left_out(study)} No value is imputed: a film without a label or pixels is left out."


def deidentification(study: Study) -> str:
    if not any(facts.known.dataset for facts in study):
        return NOT_RECORDED
    return (
        "Patients, exams and films carry pseudonyms (keyed hash, HMAC-SHA256); file paths and the key are never exported. Text "
        "that is burnt into films stays in the source files."
    )


def preprocessing(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        version = facts.known.preprocessing_version
        told = f"{NOT_RECORDED}; in this version of the app" if version is None else str(version)
        height, width = facts.config.image_size
        return (
            f"Preprocessing version {told}: crop to the breast, chest wall to the left, intensities scaled within the breast of "
            f"each film, resized (aspect kept) onto {height} x {width} pixels"
        )

    return f"{each(study, tell)}."


def outcome(study: Study) -> str:
    return each(
        study,
        lambda facts: (
            f"{facts.config.task}, {len(facts.config.class_names)} classes: {', '.join(facts.config.class_names)} "
            f"({'ordered' if facts.config.ordinal else 'unordered'}); one label a film."
        ),
    )


def imbalance(study: Study) -> str:
    weights = each(study, lambda facts: f"Class weights in the training loss: {_weights(facts)}; validation loss unweighted")
    return f"{weights}. {classes(study)}"


def _weights(facts: RunFacts) -> str:
    found = facts.config.class_weights
    return {"auto": "inverse class frequency", "none": "none"}.get(found, "") if isinstance(found, str) else str(list(found))


# ---- partition ------------------------------------------------------------------------------------------------------------


def partition(study: Study) -> str:
    return each(study, _partition)


def _partition(facts: RunFacts) -> str:
    split = facts.split
    if not split:
        return NOT_RECORDED
    ratios = "/".join(f"{100 * float(share):g}" for share in split.get("ratios") or []) or NOT_RECORDED
    told = f"Scheme {split.get('scheme', NOT_RECORDED)}, by patient, seed {split.get('seed', NOT_RECORDED)}, shares {ratios}"
    if split.get("holdout"):
        told += f"; centres held out as test: {', '.join(map(str, split['holdout']))}"
    if split.get("folds"):
        told += f"; {split['folds']} folds"
    if split.get("scheme") == "date":
        told += f"; test from {split.get('after') or NOT_RECORDED} on by {split.get('date_column') or NOT_RECORDED}"
        told += f", {split.get('gap_months', 0)} months before it left out"
    told = f"{told}. {override_words(split)}".rstrip(". ") + "."
    return " ".join([told, *(warning.rstrip(". ") + "." for warning in warning_words(split))])


def proof(study: Study) -> str:
    return each(study, _proof)


def _proof(facts: RunFacts) -> str:
    found = facts.split.get("proof")
    sha = split_hash(facts.run) or NOT_RECORDED
    if not isinstance(found, Mapping):
        return f"{NOT_RECORDED} (SHA-256 of the split {sha})."
    accepted = override_words(facts.split).rstrip(".")
    told = f"Between partitions: {shared_words(found)}. SHA-256 of the split {sha}."
    return " ".join(part for part in (told, patient_words(facts.split), f"{accepted}." if accepted else "") if part)


def classes(study: Study) -> str:
    return each(study, lambda facts: _by_part(_class_counts(facts)))


def _class_counts(facts: RunFacts) -> Mapping[str, Mapping[str, Any]]:
    return facts.split.get("class_counts") or (facts.summary.counts if facts.summary else {}) or {}


def centres_counted(study: Study) -> str:
    return each(study, lambda facts: _by_part(facts.split.get("center_counts") or {}))


def _by_part(counts: Mapping[str, Mapping[str, Any]]) -> str:
    return ". ".join(f"{part}: {pairs(found)}" for part, found in counts.items()) + "." if counts else NOT_RECORDED


# ---- model ----------------------------------------------------------------------------------------------------------------


def model(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        config, count = facts.config, facts.known.parameters
        size = NOT_RECORDED if count is None else f"{count:,}"
        return f"{config.arch}, {size} parameters, first weights: {facts.first_weights}"

    return f"{each(study, tell)}."


def settings(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        values = facts.config.to_dict()
        return ", ".join(f"{key} {values[key]}" for key in SETTINGS)

    return f"{each(study, tell)}."


def seeds(study: Study) -> str:
    told = f"{'; '.join(f'{facts.run.id}: {facts.seed_words}' for facts in study)}."
    if any(facts.is_imported for facts in study):
        return told
    return f"{told} A seed sets head weights, sample order, augmentation and dropout; the split has its own."


def selection(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        best = facts.summary.best_epoch if facts.summary else NOT_RECORDED
        return f"epoch {best} of {facts.config.epochs} planned"

    return f"The epoch with the lowest validation loss: {each(study, tell)}. Test films take no part in it."


def convergence(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        found = facts.diagnosis
        if found is None:
            return NOT_RECORDED
        when = "" if facts.summary and facts.summary.diagnosis else ", judged when this report was made"
        return (
            f"{found.get('verdict', NOT_RECORDED)} ({found.get('confidence', NOT_RECORDED)} confidence{when}): {headline(found)}"
        )

    return each(study, tell)


def headline(diagnosis: Mapping[str, Any]) -> str:
    return str(diagnosis.get("headline", NOT_RECORDED))


def software(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        packages = facts.environment.get("packages")
        listed = ", ".join(f"{name} {version}" for name, version in packages.items()) if isinstance(packages, Mapping) else ""
        python = facts.environment.get("python", NOT_RECORDED)
        return f"MammoTrace, code {facts.commit}; Python {python}; {listed or NOT_RECORDED}"

    return f"{each(study, tell)}."


def hardware(study: Study) -> str:
    def tell(facts: RunFacts) -> str:
        found = facts.environment
        told = (found.get(key, NOT_RECORDED) for key in ("device", "processor", "platform"))
        return "device {}, processor {}, system {}".format(*told)

    return f"{each(study, tell)}."


def availability(study: Study) -> str:
    sized = model(study)
    return f"{sized} Settings: reproduce/. SHA-256 of the checkpoints: reproduce/hashes.csv. {settings(study)}"


def version(study: Study) -> str:
    return f"{model(study)} Code {each(study, lambda facts: facts.commit)}. SHA-256 of the checkpoints: reproduce/hashes.csv."


def settings_at_test_time(study: Study) -> str:
    return (
        f"{preprocessing(study)} No augmentation and no averaging over views; the class with the highest probability is called."
    )
