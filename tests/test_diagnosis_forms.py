"""One history in many forms of file: how it is written down must not change what is said of it."""

from __future__ import annotations

import json
import math
import random

import pytest

from mammo_core.workflows.diagnose import diagnose_path
from test_diagnosis_foreign import CASES, SCALABLE

MEASURES = ("train_loss", "val_loss", "train_acc", "val_acc")
KERAS = {"train_loss": "loss", "train_acc": "accuracy", "val_acc": "val_accuracy"}
WITH_VALIDATION = [case for case in CASES if case[0] != "training only"]
"""A lone loss without prefix and one of training are not told apart by name alone."""
BAD = {"OVERFIT_SEVERE", "COLLAPSE", "DIVERGED"}


def rows_of(records):
    rows = []
    for record in records:
        broken = str((record.model_extra or {}).get("non_finite_in") or "").split()
        values = {name: math.nan if name in broken else getattr(record, name) for name in MEASURES}
        rows.append({"epoch": record.epoch, **values, "val_f1": getattr(record, "val_score", None)})
    kept = ["epoch", *(name for name in (*MEASURES, "val_f1") if any(row[name] is not None for row in rows))]
    return [{name: row[name] for name in kept} for row in rows]


def text_of(value):
    return "" if value is None else str(value)


def csv_of(rows, separator=",", names=None):
    header = [(names or {}).get(name, name) for name in rows[0]]
    lines = [separator.join(header), *(separator.join(text_of(value) for value in row.values()) for row in rows)]
    return "\n".join(lines) + "\n"


def shuffled(rows):
    names = list(rows[0])
    random.Random(3).shuffle(names)
    return [{name: row[name] for name in names} for row in rows]


def with_noise(rows):
    rng = random.Random(4)
    before = [{"gpu_memory_mb": 8000 + rng.random(), "time": 12 + rng.random()} for _ in rows]
    after = [{"grad_norm": rng.random(), "loss_scale": 65536.0, "note": "ok", "best_val_loss": 0.1} for _ in rows]
    return [{**one, **row, **two} for one, row, two in zip(before, rows, after, strict=True)]


def scaled(rows, ending, factor):
    return [{n: v * factor if n.endswith(ending) and v is not None else v for n, v in row.items()} for row in rows]


def markdown(rows):
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join(lines + ["| " + " | ".join(text_of(value) for value in row.values()) + " |" for row in rows]) + "\n"


FORMS = {
    "semicolons.csv": lambda rows: "\ufeff" + csv_of(rows, ";").replace("\n", "\r\n"),
    "tabs.tsv": lambda rows: csv_of(rows, "\t").rstrip("\n"),
    "keras.csv": lambda rows: csv_of(rows, names=KERAS),
    "capitals.csv": lambda rows: csv_of(rows, names={name: f" {name.replace('_', ' ').title()} " for name in rows[0]}),
    "slashes.csv": lambda rows: csv_of(rows, names={name: name.replace("_", "/") for name in rows[0]}),
    "order.csv": lambda rows: csv_of(shuffled(rows)),
    "noise.csv": lambda rows: csv_of(with_noise(rows)),
    "from_zero.csv": lambda rows: csv_of([{**row, "epoch": row["epoch"] - 1} for row in rows]),
    "from_forty.csv": lambda rows: csv_of([{**row, "epoch": row["epoch"] + 39} for row in rows]),
    "unnumbered.json": lambda rows: json.dumps({name: [row[name] for row in rows] for name in rows[0] if name != "epoch"}),
    "records.json": json.dumps,
    "nested.json": lambda rows: json.dumps({"config": {"lr": 0.1}, "history": {n: [row[n] for row in rows] for n in rows[0]}}),
    "lines.jsonl": lambda rows: "\n".join(json.dumps(row) for row in rows),
    "page.md": markdown,
    "percent.csv": lambda rows: csv_of(scaled(rows, "_acc", 100)),
}


def verdict(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    element = diagnose_path(path)
    assert element["error"] is None
    return element["verdict"]


@pytest.mark.parametrize("records", [case[2] for case in WITH_VALIDATION], ids=[case[0] for case in WITH_VALIDATION])
def test_the_form_of_a_file_does_not_change_its_verdict(tmp_path, records):
    rows = rows_of(records)
    expected = verdict(tmp_path, "plain.csv", csv_of(rows))
    said = {name: verdict(tmp_path, name, form(rows)) for name, form in FORMS.items()}
    assert said == dict.fromkeys(FORMS, expected)


@pytest.mark.parametrize("records", [case[2] for case in SCALABLE], ids=[case[0] for case in SCALABLE])
@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_the_unit_of_both_losses_does_not_change_the_verdict(tmp_path, records, factor):
    rows = rows_of(records)
    assert verdict(tmp_path, "a.csv", csv_of(rows)) == verdict(tmp_path, "b.csv", csv_of(scaled(rows, "_loss", factor)))


@pytest.mark.parametrize(("expected", "records"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_broken_or_overfitted_run_is_never_healthy_with_its_last_epochs_cut_or_training_losses_summed(
    tmp_path, expected, records
):
    rows = rows_of(records)
    if not expected <= BAD:
        return
    changed = {f"without_{count}.csv": rows[:-count] for count in (1, 2)} | {"summed.csv": scaled(rows, "train_loss", 437)}
    assert all(verdict(tmp_path, name, csv_of(form)) != "HEALTHY" for name, form in changed.items())


def test_without_a_training_loss_no_training_loss_is_said_to_fall(tmp_path):
    path = tmp_path / "h.csv"
    rows = [f"{e},{1 - 0.6 * 0.8**e:.4f},{2 * 0.8**e:.4f},{0.4 + 0.03 * e:.3f}" for e in range(1, 9)]
    path.write_text("epoch,accuracy,val_loss,val_accuracy\n" + "\n".join(rows) + "\n")
    found = diagnose_path(path)
    assert found["verdict"] == "TOO_FEW_EPOCHS"
    assert "training error (1 - accuracy) still fell" in found["headline"]
