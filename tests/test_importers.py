"""Histories of other tools: every format and every oddity on files made here; what cannot be read is refused in one sentence."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import struct
from collections import defaultdict

import numpy as np
import pytest

from mammo_core.config import load_config
from mammo_core.errors import DataError, MammoError
from mammo_core.runs.importers import import_history, read_foreign_history
from mammo_core.runs.run_dir import find_run
from mammo_core.settings import Workspace
from mammo_core.workflows.diagnose import diagnose_path

LOSS = [2.0, 1.5, 1.2, 1.0, 0.9]
VAL = [1.9, 1.6, 1.3, 1.25, 1.4]
ACC = [0.4, 0.5, 0.6, 0.65, 0.7]


def one(path, **options):
    histories = read_foreign_history(path, **options)
    assert len(histories) == 1
    return histories[0]


def column(history, name):
    return [getattr(record, name) for record in history.records]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def table(header, rows, separator=","):
    return "\n".join([header, *(separator.join(str(cell) for cell in row) for row in rows)]) + "\n"


# ---- tools -----------------------------------------------------------------------------------------------------------------


def test_keras_csv_counts_from_zero_and_keeps_its_own_epochs(tmp_path):
    rows = [(e, ACC[e], LOSS[e], ACC[e] - 0.02, VAL[e]) for e in range(5)]
    history = one(write(tmp_path / "log.csv", table("epoch,accuracy,loss,val_accuracy,val_loss", rows)))
    assert history.source == "Keras CSVLogger"
    assert column(history, "train_loss") == LOSS
    assert column(history, "val_loss") == VAL
    assert column(history, "train_acc") == ACC
    assert history.source_epochs == [0, 1, 2, 3, 4]
    assert column(history, "epoch") == [1, 2, 3, 4, 5]


def test_keras_history_json_with_lists_of_unequal_length(tmp_path):
    document = {"loss": LOSS, "val_loss": VAL[:4], "accuracy": ACC, "val_accuracy": ACC}
    history = one(write(tmp_path / "history.json", json.dumps(document)))
    assert column(history, "val_loss") == [*VAL[:4], None]
    assert any("val_loss has 4 values where others have 5" in fact for fact in history.facts)


def test_lightning_csv_joins_step_rows_and_separate_validation_rows(tmp_path):
    rows = []
    for epoch in range(4):
        rows += [f"{epoch},{epoch * 10 + step},{LOSS[epoch] + step},,," for step in (0, 1, 2)]
        rows.append(f"{epoch},{epoch * 10 + 3},,{VAL[epoch]},{ACC[epoch]},")
        rows.append(f"{epoch},{epoch * 10 + 3},,,,{LOSS[epoch]}")
    header = "epoch,step,train_loss_step,val_loss,val_acc,train_loss_epoch"
    history = one(write(tmp_path / "metrics.csv", header + "\n" + "\n".join(rows)))
    assert history.source == "Lightning CSVLogger"
    assert column(history, "train_loss") == LOSS[:4]  # the _epoch twin, not the steps
    assert column(history, "val_loss") == VAL[:4]


def test_lightning_steps_without_an_epoch_twin_are_averaged(tmp_path):
    lines = ["epoch,step,train_loss,val_loss"]
    for epoch in range(4):
        lines += [
            f"{epoch},{epoch * 2},{LOSS[epoch] - 0.1},",
            f"{epoch},{epoch * 2 + 1},{LOSS[epoch] + 0.1},",
            f"{epoch},{epoch * 2 + 1},,{VAL[epoch]}",
        ]
    history = one(write(tmp_path / "metrics.csv", "\n".join(lines)))
    assert column(history, "train_loss") == pytest.approx(LOSS[:4])


def test_ultralytics_classification_has_padded_names_and_a_validation_accuracy(tmp_path):
    header = "      epoch,      train/loss,   metrics/accuracy_top1,   metrics/accuracy_top5,   val/loss,   lr/pg0"
    rows = [(f"   {e + 1}", LOSS[e], ACC[e], 0.99, VAL[e], 1e-3) for e in range(5)]
    history = one(write(tmp_path / "results.csv", table(header, rows)))
    assert history.source == "Ultralytics results.csv"
    assert column(history, "val_acc") == ACC
    assert column(history, "train_acc") == [None] * 5
    assert column(history, "lr") == [1e-3] * 5


def test_ultralytics_detection_adds_up_the_parts_of_the_loss(tmp_path):
    header = "epoch,train/box_loss,train/cls_loss,metrics/mAP50(B),val/box_loss,val/cls_loss"
    history = one(write(tmp_path / "results.csv", table(header, [(e, LOSS[e], 1, ACC[e], VAL[e], 1) for e in range(5)])))
    assert column(history, "train_loss") == [value + 1 for value in LOSS]
    assert column(history, "val_loss") == [value + 1 for value in VAL]
    assert history.score_name == "map50"
    assert any("is the sum of" in fact for fact in history.facts)


def test_hugging_face_state_gives_one_row_a_validation(tmp_path):
    log = []
    for epoch in range(1, 5):
        log += [
            {"epoch": epoch - 0.5, "loss": LOSS[epoch] + 0.2, "step": epoch * 10 - 5},
            {"epoch": float(epoch), "loss": LOSS[epoch] - 0.2, "step": epoch * 10},
        ]
        log.append(
            {"epoch": float(epoch), "eval_loss": VAL[epoch], "eval_accuracy": ACC[epoch], "eval_runtime": 1.0, "step": epoch * 10}
        )
    log.append({"epoch": 4.0, "train_loss": 9.9, "train_runtime": 100.0, "step": 40})
    document = {"log_history": log, "num_train_epochs": 6, "global_step": 40}
    history = one(write(tmp_path / "trainer_state.json", json.dumps(document)))
    assert column(history, "train_loss") == pytest.approx(LOSS[1:])
    assert column(history, "val_loss") == VAL[1:]
    assert history.source_epochs == [1, 2, 3, 4]
    assert history.known.planned_epochs == 6


def test_a_hugging_face_state_without_evaluation_has_no_validation_loss(tmp_path):
    steps = [{"epoch": 2.0 * (i + 1), "loss": loss, "learning_rate": 1e-5, "step": 500 * (i + 1)} for i, loss in enumerate(LOSS)]
    for closing in ({"train_loss": 0.3, "train_runtime": 9.0}, {"train_loss": 0.3}):
        log = [*steps, {"epoch": 10.0, "step": 2500, **closing}]
        history = one(write(tmp_path / "trainer_state.json", json.dumps({"log_history": log})))
        assert column(history, "train_loss") == LOSS and set(column(history, "val_loss")) == {None}


def test_fastai_reads_missing_cells_error_rates_and_clock_times(tmp_path):
    rows = [(e, LOSS[e], "#na#" if e == 0 else VAL[e], round(1 - ACC[e], 3), f"00:{10 + e}") for e in range(5)]
    history = one(write(tmp_path / "history.csv", table("epoch,train_loss,valid_loss,error_rate,time", rows)))
    assert history.source == "fastai CSVLogger"
    assert column(history, "val_loss") == [None, *VAL[1:]]
    assert column(history, "val_acc") == pytest.approx(ACC)
    assert column(history, "seconds") == [10, 11, 12, 13, 14]
    assert not any(column(history, "non_finite"))


def test_timm_summary_is_in_percent(tmp_path):
    rows = [(e, LOSS[e], VAL[e], ACC[e] * 100, 99.0, 0.01) for e in range(5)]
    history = one(write(tmp_path / "summary.csv", table("epoch,train_loss,eval_loss,eval_top1,eval_top5,lr", rows)))
    assert history.source == "timm summary.csv"
    assert column(history, "val_acc") == pytest.approx(ACC)


@pytest.mark.parametrize("version", [1, 2])
def test_nnunet_logs_of_both_versions(tmp_path, version):
    lines = ["2026-01-01 10:00:00.1: nnUNet training"]
    for e in range(4):
        stamp = f"2026-01-01 10:0{e}:00.123456: "
        if version == 2:
            lines += [
                f"{stamp}Epoch {e}",
                f"{stamp}Current learning rate: 0.01",
                f"{stamp}train_loss {-0.1 - e / 10}",
                f"{stamp}val_loss {-0.08 - e / 10}",
                f"{stamp}Pseudo dice [np.float32(0.{e + 5}), np.float32(0.{e + 3})]",
                f"{stamp}Epoch time: 61.5 s",
            ]
        else:
            lines += [
                f"{stamp}epoch:  {e}",
                f"{stamp}train loss : {-0.1 - e / 10}",
                f"{stamp}validation loss: {-0.08 - e / 10}",
                f"{stamp}Average global foreground Dice: [0.{e + 5}, 0.{e + 3}]",
                f"{stamp}lr: 0.01",
                f"{stamp}This epoch took 61.5 s",
            ]
    history = one(write(tmp_path / "training_log_1.txt", "\n".join(lines)))
    assert history.source == "nnU-Net log"
    assert column(history, "train_loss") == pytest.approx([-0.1, -0.2, -0.3, -0.4])
    assert column(history, "val_loss") == pytest.approx([-0.08, -0.18, -0.28, -0.38])
    assert column(history, "val_score") == pytest.approx([0.4, 0.5, 0.6, 0.7])
    assert column(history, "lr") == [0.01] * 4


def test_keras_progress_text_and_spoken_logs(tmp_path):
    keras = "".join(
        f"Epoch {e + 1}/9\n12/12 [=====] - 3s 20ms/step - loss: {LOSS[e]} - accuracy: {ACC[e]}"
        f" - val_loss: {VAL[e]} - val_accuracy: {ACC[e]}\n"
        for e in range(5)
    )
    spoken = "".join(
        f"[INFO] Epoch [{e + 1}/9] Train - loss: {LOSS[e]}, acc: {ACC[e] * 100}% | Val - loss: {VAL[e]}, acc: {ACC[e] * 100}%\n"
        for e in range(5)
    )
    for name, text in (("keras.log", keras), ("spoken.txt", spoken)):
        history = one(write(tmp_path / name, text))
        assert column(history, "train_loss") == LOSS
        assert column(history, "val_loss") == VAL
        assert column(history, "val_acc") == pytest.approx(ACC)
        assert history.known.planned_epochs == 9


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, kind, payload):
    return varint(number << 3 | kind) + (varint(len(payload)) + payload if kind == 2 else payload)


def event(step, tag, value, as_tensor=False):
    if as_tensor:
        tensor = field(1, 0, varint(1)) + field(4, 2, struct.pack("<f", value))
        content = field(1, 2, tag.encode()) + field(8, 2, tensor)
    else:
        content = field(1, 2, tag.encode()) + field(2, 5, struct.pack("<f", value))
    payload = field(1, 1, struct.pack("<d", 1.0)) + field(2, 0, varint(step)) + field(5, 2, field(1, 2, content))
    return struct.pack("<Q", len(payload)) + b"\0" * 4 + payload + b"\0" * 4


def test_tensorboard_events_of_one_run_in_two_folders(tmp_path):
    for folder, values in (("train", LOSS), ("validation", VAL)):
        data = b"".join(
            event(e, "epoch_loss", values[e], as_tensor=True) + event(e, "epoch_accuracy", ACC[e], as_tensor=True)
            for e in range(5)
        )
        write(tmp_path / "run" / folder / "events.out.tfevents.1.host", data)
    history = one(tmp_path / "run")
    assert history.source == "TensorBoard event file"
    assert column(history, "train_loss") == pytest.approx(LOSS)
    assert column(history, "val_loss") == pytest.approx(VAL)
    assert column(history, "val_acc") == pytest.approx(ACC)


def test_a_tensorboard_file_that_was_cut_off_keeps_its_whole_records(tmp_path):
    data = b"".join(event(e, tag, value) for e in range(5) for tag, value in (("Loss/train", LOSS[e]), ("Loss/val", VAL[e])))
    history = one(write(tmp_path / "events.out.tfevents.2.host", data[:-7]))
    assert column(history, "train_loss") == pytest.approx(LOSS)
    assert column(history, "val_loss")[:4] == pytest.approx(VAL[:4])
    assert any("middle of a record" in fact for fact in history.facts)


@pytest.mark.parametrize(
    "line",
    [
        "[cnn s0] ep {e:2d}  train_loss {a}  val_acc {b}  (5s)  *best",
        "Epoch {e} | train loss {a} | val acc {b}",
        "2024-05-01 10:00:00 INFO Epoch {e}: train_loss={a} val_acc={b}",
        "Ep. {e} - train loss: {a}, val acc: {b}",
    ],
)
def test_lines_written_for_people_are_read_however_name_and_number_are_parted(tmp_path, line):
    lines = [line.format(e=e + 1, a=LOSS[e], b=ACC[e]) for e in range(5)]
    history = one(write(tmp_path / "log.txt", "Device: cuda\n" + "\n".join(lines) + "\ndone in 20 s\n"))
    assert (column(history, "train_loss"), column(history, "val_acc")) == (LOSS, ACC)
    assert history.source_epochs == [1, 2, 3, 4, 5]


# ---- the reference setups --------------------------------------------------------------------------------------------------


def density_folder(tmp_path):
    records = [
        {"epoch": e + 1, "train_loss": LOSS[e], "train_acc": ACC[e], "val_loss": VAL[e], "val_acc": ACC[e], "lr": 1e-4}
        for e in range(5)
    ]
    folder = tmp_path / "results_4"
    write(folder / "train_history.json", json.dumps(records))
    write(folder / "summary.json", json.dumps({"seed": 42, "epochs": 20, "classes": ["A", "B", "C", "D"], "warmup_epochs": 2}))
    matrix = [[2, 6, 0, 0], [4, 58, 11, 0], [0, 42, 98, 30], [0, 1, 9, 57]]
    write(folder / "metrics" / "val_metrics.json", json.dumps({"confusion_matrix": matrix, "accuracy": 0.676}))
    write(folder / "val_predictions.csv", "image,y_true,y_pred\na,1,2\n")
    return folder


def test_a_results_folder_is_read_whole_with_what_its_other_files_say(tmp_path):
    history = one(density_folder(tmp_path))
    assert column(history, "val_loss") == VAL
    assert history.label == "results_4"
    assert history.known.planned_epochs == 20
    assert history.known.class_names == ("A", "B", "C", "D")
    assert history.known.n_val == 318


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickled_records_and_gathered_lists_are_read_and_anything_else_is_not_run(tmp_path, protocol):
    gathered = defaultdict(list, {"train_loss": np.array(LOSS), "val_loss": [np.float64(value) for value in VAL]})
    records = [{"epoch": e + 1, "train_loss": LOSS[e], "val_loss": np.float32(VAL[e])} for e in range(5)]
    for name, content in (("a", gathered), ("b", records)):
        write(tmp_path / name / "train_history.pkl", pickle.dumps(content, protocol))
        assert column(one(tmp_path / name), "val_loss") == pytest.approx(VAL)
    proof = tmp_path / "run"
    write(tmp_path / "c" / "h.pkl", pickle.dumps({"train_loss": LOSS, "x": Touches(str(proof))}, protocol))
    assert "cannot be read safely" in diagnose_path(tmp_path / "c")["error"] and not proof.exists()


class Touches:
    """Unpickled by the ordinary reader, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_folder_of_folds_gives_one_history_a_fold(tmp_path):
    for fold in (1, 2, 3):
        write(tmp_path / "cv" / f"fold_{fold}" / "history.json", json.dumps({"train_loss": LOSS, "val_loss": VAL}))
    assert [history.label for history in read_foreign_history(tmp_path / "cv")] == ["fold_1", "fold_2", "fold_3"]


def test_training_and_validation_in_two_files_are_joined(tmp_path):
    write(tmp_path / "two" / "train.csv", table("epoch,loss", enumerate(LOSS)))
    write(tmp_path / "two" / "val.csv", table("epoch,loss", enumerate(VAL)))
    history = one(tmp_path / "two")
    assert (column(history, "train_loss"), column(history, "val_loss")) == (LOSS, VAL)


def lesion_markdown():
    rows = "\n".join(f"| {e + 1} | {LOSS[e]} | {VAL[e]} | {ACC[e]} | 0.5 | 0.{e + 3} | 0.7 | 1e-{e + 4} |" for e in range(5))
    head = (
        "| Epoch | Train Loss | Val Loss | Val Acc | Recall N | Recall B | Recall M | LR |\n|---|---|---|---|---|---|---|---|\n"
    )
    first = f"# Results\n\nSome loss and accuracy text.\n\n### Stratified Split\n{head}{rows}\n\n**Best:** 4\n\n"
    second = f"### Center-Holdout Split\n{head}{rows}\n\n| Metric | A |\n|---|---|\n| Final val_acc | 0.7 |\n"
    return first + second


def test_markdown_tables_are_histories_named_by_their_headings(tmp_path):
    histories = read_foreign_history(write(tmp_path / "summary.md", lesion_markdown()))
    assert [history.label for history in histories] == ["Stratified Split", "Center-Holdout Split"]
    assert histories[0].records[1].val_recall == {"N": 0.5, "B": 0.4, "M": 0.7}
    assert histories[0].known.class_names == ("N", "B", "M")
    assert column(histories[1], "val_loss") == VAL


def test_our_own_training_log_reads_back_with_recalls(tmp_path):
    header = "epoch,train_loss,val_loss,val_balanced_acc,val_recall_Normal,val_recall_Benign,predicted_share_Normal"
    history = one(
        write(tmp_path / "training_log.csv", table(header, [(e + 1, LOSS[e], VAL[e], 0.6, 0.5, 0.7, 0.4) for e in range(5)]))
    )
    assert history.records[0].val_recall == {"Normal": 0.5, "Benign": 0.7}
    assert history.records[0].predicted_share == {"Normal": 0.4}
    assert history.records[0].val_balanced_acc == 0.6


# ---- oddities --------------------------------------------------------------------------------------------------------------


def test_bom_crlf_semicolons_decimal_commas_and_no_final_newline(tmp_path):
    lines = ["epoch;Train Loss;Val Loss"] + [f"{e};{str(LOSS[e]).replace('.', ',')};{VAL[e]}" for e in range(5)]
    history = one(write(tmp_path / "log.csv", b"\xef\xbb\xbf" + "\r\n".join(lines).encode()))
    assert (column(history, "train_loss"), column(history, "val_loss")) == (LOSS, VAL)


@pytest.mark.parametrize(
    "header", ["Epoch\ttrainLoss\tvalLoss", "EPOCH\tTRAIN_LOSS\tVAL_LOSS", "ep\tloss_train\tloss_valid", "epoch\ttrain\tval"]
)
def test_capitals_blanks_and_word_order_of_names_do_not_matter(tmp_path, header):
    history = one(write(tmp_path / "log.tsv", table(header, [(e, LOSS[e], VAL[e]) for e in range(5)], "\t")))
    assert (column(history, "train_loss"), column(history, "val_loss")) == (LOSS, VAL)


def test_a_pandas_index_and_a_missing_epoch_column(tmp_path):
    history = one(write(tmp_path / "log.csv", table(",loss,val_loss", [(e, LOSS[e], VAL[e]) for e in range(5)])))
    assert history.source_epochs == [None] * 5
    assert any("numbers no epochs" in fact for fact in history.facts)


def test_a_header_repeated_mid_file_starts_another_run(tmp_path):
    text = table("loss,val_loss", zip(LOSS, VAL, strict=True))
    history = one(write(tmp_path / "log.csv", text + text))
    assert [(record.model_extra or {}).get("segment", 0) for record in history.records] == [0] * 5 + [1] * 5
    assert any("repeated" in fact for fact in history.facts)


def test_a_resume_goes_on_and_a_fresh_start_is_another_run(tmp_path):
    rows = [(1, 2.0, 2.0), (2, 1.0, 1.1), (3, 0.6, 0.8), (3, 0.62, 0.8), (4, 0.5, 0.7), (1, 1.9, 1.9), (2, 1.1, 1.0)]
    history = one(write(tmp_path / "log.csv", table("epoch,train_loss,val_loss", rows)))
    assert column(history, "resumed") == [False, False, False, True, False, False, False]
    assert [(record.model_extra or {}).get("segment", 0) for record in history.records] == [0, 0, 0, 0, 0, 1, 1]


def test_stages_of_one_training_are_one_run(tmp_path):
    rows = [("stage1", 1, 2.0, 1.9), ("stage1", 2, 1.8, 1.7), ("stage2", 1, 0.9, 0.8), ("stage2", 2, 0.6, 0.7)]
    history = one(write(tmp_path / "log.csv", table("stage,epoch,train_loss,val_loss", rows)))
    assert [(record.model_extra or {}).get("segment", 0) for record in history.records] == [0] * 4


def test_several_models_in_one_file_are_several_histories(tmp_path):
    rows = [(model, e, LOSS[e], VAL[e]) for model in ("resnet", "vgg") for e in range(5)]
    histories = read_foreign_history(write(tmp_path / "all.csv", table("model,epoch,train_loss,val_loss", rows)))
    assert [history.label for history in histories] == ["resnet", "vgg"]
    nested = {"resnet": {"loss": LOSS, "val_loss": VAL}, "vgg": {"loss": LOSS, "val_loss": VAL}}
    assert [h.label for h in read_foreign_history(write(tmp_path / "all.json", json.dumps(nested)))] == ["resnet", "vgg"]


def test_one_row_a_phase_becomes_one_row_an_epoch(tmp_path):
    rows = [(e, phase, loss[e], ACC[e]) for e in range(5) for phase, loss in (("train", LOSS), ("val", VAL))]
    history = one(write(tmp_path / "log.csv", table("epoch,phase,loss,accuracy", rows)))
    assert (column(history, "train_loss"), column(history, "val_loss"), column(history, "val_acc")) == (LOSS, VAL, ACC)


@pytest.mark.parametrize(
    "document",
    [
        {"train": {"loss": LOSS}, "val": {"loss": VAL}},
        {"loss": {"train": LOSS, "val": VAL}},
        {"history": {"train_loss": LOSS, "val_loss": VAL}, "config": {"epochs": 7}},
        {"train_losses": LOSS, "val_losses": VAL, "best_val_loss": 1.25},
        {"loss": {str(e): LOSS[e] for e in range(5)}, "val_loss": {str(e): VAL[e] for e in range(5)}},
        {f"epoch_{e + 1}": {"train_loss": LOSS[e], "val_loss": VAL[e]} for e in range(5)},
        [{"epoch": e, "train": {"loss": LOSS[e]}, "val": {"loss": VAL[e]}} for e in range(5)],
        {"epochs": [{"epoch": e, "train_loss": LOSS[e], "val_loss": VAL[e]} for e in range(5)]},
    ],
)
def test_nested_forms_of_json(tmp_path, document):
    history = one(write(tmp_path / "h.json", json.dumps(document)))
    assert (column(history, "train_loss"), column(history, "val_loss")) == (LOSS, VAL)


def test_json_lines_with_a_cut_last_line(tmp_path):
    lines = [json.dumps({"epoch": e, "train_loss": LOSS[e], "test_loss": VAL[e], "test_acc1": 100 * ACC[e]}) for e in range(5)]
    history = one(write(tmp_path / "log.txt", "\n".join(lines) + '\n{"epoch": 5, "train'))
    assert history.source == "JSON lines"
    assert column(history, "val_loss") == VAL
    assert column(history, "val_acc") == pytest.approx(ACC)
    assert any("test loss stands in" in fact for fact in history.facts)


def test_losses_of_every_batch_are_averaged_and_rare_validation_is_spread(tmp_path):
    per_batch = {"train_loss": [value for value in LOSS for _ in range(40)], "val_loss": VAL}
    assert column(one(write(tmp_path / "a.json", json.dumps(per_batch))), "train_loss") == pytest.approx(LOSS)
    rare = {"train_loss": [2 - 0.1 * e for e in range(10)], "val_loss": [1.5, 1.2]}
    assert column(one(write(tmp_path / "b.json", json.dumps(rare))), "val_loss") == [None] * 4 + [1.5] + [None] * 4 + [1.2]


def test_an_accuracy_without_prefix_beside_prefixed_losses_is_validation(tmp_path):
    history = one(
        write(tmp_path / "log.csv", table("epoch,train_loss,val_loss,accuracy", [(e, LOSS[e], VAL[e], ACC[e]) for e in range(5)]))
    )
    assert column(history, "val_acc") == ACC
    assert column(history, "train_acc") == [None] * 5


def test_a_final_test_value_and_the_parts_of_a_training_loss_are_no_validation(tmp_path):
    rows = [(e, loss, loss / 3, loss / 2, "", 65536) for e, loss in enumerate(LOSS)]
    rows[-1] = (*rows[-1][:4], 0.91, 65536)
    history = one(write(tmp_path / "h.csv", table("epoch,train_loss,kl_loss,recon_loss,test_acc,loss_scale", rows)))
    assert column(history, "train_loss") == LOSS
    assert set(column(history, "val_loss") + column(history, "val_acc")) == {None}


def test_a_reward_of_episodes_numbers_no_epochs(tmp_path):
    path = write(
        tmp_path / "h.csv", table("ep,ep_reward,train_loss,val_loss", zip(range(5), [3, 9, 4, 1, 7], LOSS, VAL, strict=True))
    )
    assert one(path).source_epochs == [0, 1, 2, 3, 4]
    path = write(tmp_path / "g.csv", table("ep_reward,train_loss,val_loss", zip([3, 9, 4, 1, 7], LOSS, VAL, strict=True)))
    assert one(path).source_epochs == [None] * 5 and not any(column(one(path), "resumed"))


def test_an_epoch_column_that_never_counts_on_is_one_run(tmp_path):
    history = one(write(tmp_path / "h.csv", table("epoch,loss,val_loss", [(0, a, a + 0.1) for a in LOSS])))
    assert len(history.records) == 5 and {(r.model_extra or {}).get("segment", 0) for r in history.records} == {0}


def test_text_that_wraps_numbers_is_unwrapped(tmp_path):
    rows = [(e, f"\"tensor({LOSS[e]}, device='cuda:0')\"", f"np.float64({VAL[e]})", f"{100 * ACC[e]}%") for e in range(5)]
    history = one(write(tmp_path / "log.csv", table("epoch,train_loss,val_loss,val_acc", rows)))
    assert (column(history, "train_loss"), column(history, "val_loss")) == (LOSS, VAL)
    assert column(history, "val_acc") == pytest.approx(ACC)


def test_nan_is_a_broken_loss_unless_the_epoch_was_simply_not_validated(tmp_path):
    broken = one(write(tmp_path / "a.csv", table("epoch,loss,val_loss", [(0, 1.0, 1.0), (1, 0.9, 0.9), (2, "nan", "nan")])))
    assert column(broken, "non_finite") == [False, False, True]
    assert column(broken, "train_loss") == [1.0, 0.9, None]
    skipped = one(
        write(tmp_path / "b.csv", table("epoch,loss,val_loss", [(0, 1.0, "nan"), (1, 0.9, 0.9), (2, 0.8, "nan"), (3, 0.7, 0.8)]))
    )
    assert not any(column(skipped, "non_finite"))


def test_an_unresolved_merge_keeps_both_sides_and_the_rows_of_the_file(tmp_path):
    text = "epoch,loss,val_loss\n<<<<<<< HEAD\n0,1.0,1.0\n1,0.8,0.7\n2,0.7,0.9\n=======\n0,1.1,1.2\n>>>>>>> branch\n"
    path = write(tmp_path / "log.csv", text)
    assert column(one(path), "val_loss") == [1.0, 0.7, 0.9, 1.2]
    assert diagnose_path(path)["best_row"] == 3  # as a spreadsheet counts below the header


def test_the_newest_epoch_first_is_turned_round(tmp_path):
    history = one(write(tmp_path / "log.csv", table("epoch,loss,val_loss", [(e, LOSS[e], VAL[e]) for e in reversed(range(5))])))
    assert column(history, "train_loss") == LOSS


def test_a_mapping_reads_columns_that_no_name_gives_away(tmp_path):
    path = write(tmp_path / "log.csv", table("t,a,b,loss", [(e, LOSS[e], VAL[e], 0) for e in range(5)]))
    history = one(path, mapping={"epoch": "t", "train_loss": "a", "val_loss": "b"})
    assert (column(history, "train_loss"), column(history, "val_loss")) == (LOSS, VAL)
    with pytest.raises(DataError, match="no column 'zzz'"):
        read_foreign_history(path, {"val_loss": "zzz"})


# ---- refusals --------------------------------------------------------------------------------------------------------------

BAD = {
    "predictions.csv": "image,y_true,y_pred\na,1,2\nb,0,0\n",
    "report.csv": "model,accuracy,f1\nresnet,0.9,0.8\nvgg,0.8,0.7\n",
    "seeds.csv": "seed,accuracy,loss\n42,0.9,0.2\n43,0.8,0.3\n44,0.8,0.3\n",
    "header_only.csv": "epoch,train_loss,val_loss\n",
    "empty.csv": "",
    "blank.json": "   \n",
    "broken.json": '{"loss": [1, 2,',
    "config.json": '{"epochs": 20, "lr": 0.001}',
    "deep.json": "[" * 5000 + "]" * 5000,
    "nested.json": '{"a":' * 900 + "1" + "}" * 900,
    "scalars.json": '{"val_loss": 0.5, "val_acc": 0.7}',
    "prose.txt": "The training loss and the validation accuracy are shown in figure 3.\nThe loss fell to 0.3 after 12 epochs.\n",
    "binary.csv": bytes(range(256)) * 20,
    "nul.csv": b"epoch,loss,val_loss\n0,1,\x002\n",
    "model.pth": b"PK\x03\x04",
    "figure.png": b"\x89PNG",
    "events.out.tfevents.9": b"not an event file at all, but long enough to be looked at",
    "odd.pkl": b"\x80\x04not a pickle",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_history_is_refused_in_one_sentence(tmp_path, name):
    path = write(tmp_path / name, BAD[name])
    with pytest.raises(DataError) as error:
        read_foreign_history(path)
    text = str(error.value)
    assert text.startswith(name) and "\n" not in text and str(tmp_path) not in text
    element = diagnose_path(path)
    assert element["verdict"] is None and element["error"] == text
    json.dumps(element, allow_nan=False)


def test_missing_files_and_empty_folders_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("nothing.csv", "empty"):
        assert name in diagnose_path(tmp_path / name)["error"]


@pytest.mark.parametrize("number", ["1e400", "NaN", "-Infinity", "1" + "0" * 6000])
def test_numbers_beyond_floating_point_are_non_finite_not_an_error(tmp_path, number):
    path = write(tmp_path / "h.json", f'{{"loss": [1.0, 0.9, {number}], "val_loss": [1.0, 0.9, {number}]}}')
    assert column(one(path), "non_finite") == [False, False, True]
    assert diagnose_path(path)["verdict"] == "DIVERGED"


def test_a_cell_of_six_thousand_digits_does_not_stop_the_reader(tmp_path):
    path = write(tmp_path / "h.csv", f"epoch,loss,val_loss\n0,1,1\n1,{'9' * 6000},0.9\n2,0.8,0.8\n3,0.7,0.7\n")
    assert diagnose_path(path)["error"] is None


def test_files_above_the_limit_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.seek(70 * 2**20)
        file.write(b"\n")
    with pytest.raises(DataError, match="more than the 64 MB"):
        read_foreign_history(path)


# ---- import ----------------------------------------------------------------------------------------------------------------


def test_an_imported_history_is_a_run_like_any_other(tmp_path):
    workspace = Workspace(tmp_path / "home")
    runs = import_history(workspace, density_folder(tmp_path), "reference")
    assert [run.id for run in runs] == ["reference/results_4"]
    run = find_run(workspace, "reference/results_4")
    assert [record.val_loss for record in run.history()] == VAL
    assert run.state() == "finished"
    config = load_config(run.config_file)
    assert (config.epochs, config.class_names, config.early_stopping_patience) == (20, ("A", "B", "C", "D"), None)
    record = json.loads((run.path / "import.json").read_text())
    assert record["source"] == "JSON records"
    rows = list(csv.DictReader(io.StringIO(run.training_log.read_text())))
    assert [float(row["val_loss"]) for row in rows] == VAL


def test_a_second_import_overwrites_nothing(tmp_path):
    workspace = Workspace(tmp_path / "home")
    path = write(tmp_path / "my run (1).csv", table("epoch,loss,val_loss", [(e, LOSS[e], VAL[e]) for e in range(5)]))
    names = [import_history(workspace, path, "mine")[0].name for _ in range(3)]
    assert names == ["my_run_1", "my_run_1_2", "my_run_1_3"]


def test_an_imported_run_gets_the_verdict_of_its_file(tmp_path):
    workspace = Workspace(tmp_path / "home")
    rows = [(e, 0.1 + math.exp(-e / 3), 0.5 + math.exp(-e / 3) + 0.06 * max(0, e - 8)) for e in range(20)]
    path = write(tmp_path / "log.csv", table("epoch,loss,val_loss", rows))
    run = import_history(workspace, path, "mine")[0]
    direct, imported = diagnose_path(path), diagnose_path(run.path)
    assert direct["verdict"].startswith("OVERFIT")
    for key in ("verdict", "headline", "best_row", "best_epoch"):
        assert direct[key] == imported[key]


def test_a_bad_name_is_refused(tmp_path):
    path = write(tmp_path / "log.csv", table("epoch,loss,val_loss", [(e, LOSS[e], VAL[e]) for e in range(5)]))
    with pytest.raises(MammoError):
        import_history(Workspace(tmp_path / "home"), path, "../elsewhere")


UNKNOWN = [(n, 2.0 / n, 2.5 / n, 0.5 + 0.01 * n) for n in range(1, 9)]


def test_a_table_of_unknown_names_is_read_once_somebody_says_what_they_mean(tmp_path):
    rows = "\n".join(",".join(map(str, row)) for row in UNKNOWN)
    table = tmp_path / "t.csv"
    table.write_text(f"runde,verlust_a,verlust_b,treffer\n{rows}\n")
    with pytest.raises(DataError, match="is no training history"):
        read_foreign_history(table)
    mapping = {"epoch": "runde", "train_loss": "verlust_a", "val_loss": "verlust_b", "val_acc": "treffer"}
    history = read_foreign_history(table, mapping)[0]
    assert [record.val_loss for record in history.records] == [2.5 / n for n in range(1, 9)]
    assert history.records[-1].val_acc == pytest.approx(0.58)


@pytest.mark.parametrize("form", ["records", "lists"])
def test_json_of_unknown_names_is_read_once_somebody_says_what_they_mean(tmp_path, form):
    names = ("runde", "verlust_a", "verlust_b", "treffer")
    records = [dict(zip(names, row, strict=True)) for row in UNKNOWN]
    lists = {name: [record[name] for record in records] for name in names}
    path = tmp_path / "t.json"
    path.write_text(json.dumps(records if form == "records" else lists))
    history = read_foreign_history(path, {"train_loss": "verlust_a", "val_loss": "verlust_b"})[0]
    assert [record.train_loss for record in history.records] == [2.0 / n for n in range(1, 9)]


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("runde,verlust\n1,2\n2,1\n")
    with pytest.raises(DataError, match="no column 'loss' .* the file has runde, verlust"):
        read_foreign_history(table, {"train_loss": "loss"})


def test_ultralytics_times_since_the_start_become_times_of_epochs(tmp_path):
    table = tmp_path / "results.csv"
    lines = [f"{n},{10 * n},{1 / n},{0.5},{1 / n}" for n in range(1, 6)]
    table.write_text("epoch,time,train/loss,metrics/accuracy_top1,val/loss\n" + "\n".join(lines) + "\n")
    assert [record.seconds for record in read_foreign_history(table)[0].records] == [10.0] * 5
