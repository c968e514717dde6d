"""A model as one file: it answers as its runs did, and nothing altered, foreign or hostile is ever loaded."""

import dataclasses
import json
import os
import pickle
import shutil
import time
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_tensors

from make_films import drawn_film
from make_models import ARCH, write_model, write_model_run
from make_runs import write_run
from mammo_core.analysis.backing_fit import join_validation
from mammo_core.analysis.metrics import evaluate_predictions
from mammo_core.analysis.temperature import apply_temperature
from mammo_core.data.film import Film, FilmFacts
from mammo_core.errors import CheckpointMismatch, ConfigError, MammoError, NameNotAllowed
from mammo_core.predict.model_file import load_model_file
from mammo_core.predict.model_record import RECORD_PART, model_path, read_card, read_record
from mammo_core.predict.predictor import Predictor
from mammo_core.runs.run_dir import find_run
from mammo_core.settings import open_workspace
from mammo_core.storage import is_locked, write_table
from mammo_core.workflows.housekeeping import list_trash
from mammo_core.workflows.model_shelf import (
    LOCK,
    export_model,
    import_model,
    keep_model,
    kept_models,
    put_back_model,
    remove_model,
    trashed_models,
)

PIXELS = drawn_film((320, 256), "right")
FACTS = FilmFacts(kind="PNG", height=320, width=256, bits=8, window="as stored", inverted=False, decoder="none")
FILM = Film(PIXELS, FACTS)
CPU = torch.device("cpu")


NAMES = ("density/seed_42", "density/seed_43")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A workspace with two seeds that have validation predictions and features for the guard, kept as one model."""
    workspace = open_workspace(tmp_path_factory.mktemp("made"))
    for name in NAMES:
        seed = int(name[-2:])
        run = write_run(
            workspace.experiments / name,
            seed=seed, class_names=("Normal", "Benign", "Malignant"), epochs=3, replicates=10, patients=240,
        )  # fmt: skip
        write_model(run, run.config().replace(arch=ARCH, image_size=(96, 96)), seed)
        n = len(run.predictions("val"))
        first = find_run(workspace, NAMES[0])  # both say the same, far too surely: their mean needs a temperature too
        too_sure = apply_temperature(first.predictions("val"), run.config().class_names, 0.08 if run.path == first.path else 1)
        write_table(run.predictions_file("val"), too_sure)
        np.save(run.embeddings, np.random.default_rng(1).random((n, 256), dtype=np.float32))
    keep_model(workspace, NAMES, "first", "For the tests.")
    return workspace


@pytest.fixture
def runs(workspace, made_once):
    shutil.copytree(made_once.experiments, workspace.experiments)
    return [find_run(workspace, name) for name in NAMES]


@pytest.fixture
def kept(workspace, made_once, runs):
    shutil.copytree(made_once.models, workspace.models)
    return model_path(workspace, "first")


def rewritten(path, target, change):
    """A copy of a model file with its parts changed by ``change(parts)``."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return target


def changed_record(contents, **changes):
    contents[RECORD_PART] = json.dumps(json.loads(contents[RECORD_PART]) | changes).encode()


def test_a_kept_model_answers_exactly_as_its_runs_did(workspace, runs, kept):
    of_runs = Predictor.load(workspace, [run.id for run in runs], "cpu").predict(FILM)
    of_file = Predictor.load(workspace, ["model:first"], "cpu").predict(FILM)
    ignored = {"made_at": ""}
    assert dataclasses.replace(of_file, **ignored) == dataclasses.replace(of_runs, **ignored)
    assert of_file.unfamiliar.score is not None
    assert of_file.backing.level("film").points
    assert of_file.backing.temperature != 1


def test_it_stays_as_it_was_when_its_runs_are_gone(workspace, runs, kept):
    before = Predictor.from_file(kept, "cpu").predict(FILM)
    for run in runs:
        run.best_model.unlink()
    assert Predictor.from_file(kept, "cpu").predict(FILM).per_run == before.per_run


def test_it_travels_to_another_machine(workspace, kept, tmp_path):
    file = export_model(workspace, "first", tmp_path)
    other = open_workspace(tmp_path / "other")
    import_model(other, file, "second")
    assert [model.name for model in kept_models(other)] == ["second"]
    there = Predictor.load(other, ["model:second"], "cpu").predict(FILM)
    assert there.probabilities == Predictor.from_file(kept, "cpu").predict(FILM).probabilities
    assert read_record(model_path(other, "second")).model_id == read_record(kept).model_id


def test_the_same_model_gives_the_same_bytes(workspace, runs, kept):
    again = kept.read_bytes()
    remove_model(workspace, "first")
    keep_model(workspace, [run.id for run in runs], "first", "For the tests.")
    assert kept.read_bytes() == again


def test_the_record_says_what_the_model_is_and_names_no_place_or_patient(workspace, runs, kept, tmp_path):
    record = read_record(kept)
    assert record.task == "lesion"
    assert len(record.members) == 2
    assert record.single_runs["auc_ovr_macro"].endswith("(n = 2, SD n-1)")
    films, _, _ = join_validation([run.predictions("val") for run in runs])
    own = evaluate_predictions(films, record.class_names, False, epoch=0, split_sha256=None, on="val").metrics["auc_ovr_macro"]
    assert record.quality["auc_ovr_macro"] == f"{own.value:.3f} ({own.ci_low:.3f} to {own.ci_high:.3f})"
    assert len(record.verdicts) == 2
    assert record.backing.question.positive == ("Malignant",)
    assert "For the tests." in read_card(kept) and record.model_id in read_card(kept)
    content = kept.read_bytes()
    assert str(workspace.home).encode() not in content
    for patient in set(runs[0].predictions("val")["patient_id"]):
        assert f'"{patient}"'.encode() not in content


def test_a_path_in_the_settings_is_cut_to_its_name(workspace):
    run = write_model_run(workspace, weights="/home/dr_miller/weights/b0.pth")
    keep_model(workspace, [run.id], "m")
    path = model_path(workspace, "m")
    assert b"dr_miller" not in path.read_bytes()
    assert load_model_file(path, CPU).members[0].checkpoint.config.weights == "b0.pth"


def test_a_run_without_validation_predictions_can_be_kept_and_says_what_is_missing(workspace):
    run = write_model_run(workspace)
    record = keep_model(workspace, [run.id], "bare")
    assert "keep no predictions" in record.backing.problem
    prediction = Predictor.load(workspace, ["model:bare"], "cpu").predict(FILM)
    assert prediction.unfamiliar.flagged is None
    assert prediction.probabilities == prediction.raw_probabilities


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 90])
def test_no_name_leaves_the_folder(workspace, runs, name):
    with pytest.raises(NameNotAllowed):
        keep_model(workspace, [runs[0].id], name)


def test_nothing_is_overwritten(workspace, runs, kept, tmp_path):
    content = kept.read_bytes()
    with pytest.raises(MammoError, match="already"):
        keep_model(workspace, [runs[0].id], "first")
    with pytest.raises(MammoError, match="already"):
        import_model(workspace, kept, "first")
    (tmp_path / "there.mammotrace").write_text("mine")
    with pytest.raises(MammoError, match="already"):
        export_model(workspace, "first", tmp_path / "there.mammotrace")
    assert kept.read_bytes() == content


def test_a_name_that_another_program_takes_meanwhile_is_not_overwritten(workspace, runs, monkeypatch):
    path, strftime = model_path(workspace, "second"), time.strftime

    def another_is_quicker(*asked):  # the date is written down once the runs are loaded
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"of another program")
        return strftime(*asked)

    monkeypatch.setattr(time, "strftime", another_is_quicker)
    with pytest.raises(MammoError, match="a model named second already"):
        keep_model(workspace, [runs[0].id], "second")
    assert path.read_bytes() == b"of another program"


def test_nobody_else_takes_a_name_between_the_last_look_and_the_writing(workspace, kept, monkeypatch):
    held, replace, rename = [], os.replace, type(kept).rename

    def watched(call):
        def instead(source, target):
            held.append(is_locked(workspace.home / LOCK))
            return call(source, target)

        return instead

    trashed = remove_model(workspace, "first")
    monkeypatch.setattr(os, "replace", watched(replace))
    monkeypatch.setattr(type(kept), "rename", watched(rename))
    import_model(workspace, trashed, "second")
    put_back_model(workspace, trashed)
    assert held == [True, True]


def test_runs_of_two_tasks_are_not_kept_as_one(workspace, runs):
    other = write_model_run(workspace, "other/seed_1", task="density")
    with pytest.raises(CheckpointMismatch, match="one task"):
        keep_model(workspace, [runs[0].id, other.id], "mixed")
    assert kept_models(workspace) == []


def test_a_kept_model_predicts_alone(workspace, runs, kept):
    with pytest.raises(ConfigError, match="alone"):
        Predictor.load(workspace, ["model:first", runs[0].id])


def change_a_weight(parts):
    parts["weights_1.safetensors"] = parts["weights_1.safetensors"][:-1] + b"\x7f"


def swap_the_weights(parts):
    one, other = parts["weights_1.safetensors"], parts["weights_2.safetensors"]
    parts |= {"weights_1.safetensors": other, "weights_2.safetensors": one}
    hashes = json.loads(parts[RECORD_PART])["parts"]
    first, second = hashes["weights_1.safetensors"], hashes["weights_2.safetensors"]
    changed_record(parts, parts=hashes | {"weights_1.safetensors": second, "weights_2.safetensors": first})


def plant_other_weights(parts):
    import hashlib

    content = save_tensors({"x": torch.zeros(2)})
    hashes = json.loads(parts[RECORD_PART])["parts"]
    parts["weights_1.safetensors"] = content
    changed_record(parts, parts=hashes | {"weights_1.safetensors": hashlib.sha256(content).hexdigest()})


def change_backing(contents, **changes):
    record = json.loads(contents[RECORD_PART])
    changed_record(contents, backing=record["backing"] | changes)


def change_point(contents, **changes):
    backing = json.loads(contents[RECORD_PART])["backing"]
    backing["levels"][0]["points"][1] |= changes
    changed_record(contents, backing=backing)


def change_member(contents, **changes):
    record = json.loads(contents[RECORD_PART])
    changed_record(contents, members=[{**member, **changes} for member in record["members"]])


def asked(positive, negative):
    return {"key": "x", "title": "x", "positive": positive, "negative": negative}


NONSENSE = {
    "a negative temperature": lambda c: change_scaling(c, temperature=-1),
    "a temperature of zero": lambda c: change_scaling(c, temperature=0),
    "a temperature that is no number": lambda c: change_scaling(c, temperature=float("nan")),
    "a threshold above one": lambda c: change_point(c, threshold=5),
    "a threshold that is no number": lambda c: change_point(c, threshold=float("nan")),
    "a sensitivity of seven": lambda c: change_point(c, sensitivity={"value": 7.0}),
    "an unknown rule": lambda c: change_point(c, rule="best"),
    "a question about no class": lambda c: change_backing(c, question=asked(["Z"], ["Normal"])),
    "a question that leaves classes out": lambda c: change_backing(c, question=asked(["Malignant"], ["Normal"])),
    "an unknown metric": lambda c: changed_record(c, quality={"luck": "1.0"}),
    "a guard that flags nothing": lambda c: change_member(c, guard_threshold=float("inf")),
    "a guard of zero": lambda c: change_member(c, guard_threshold=0),
    "an SD of zero": lambda c: change_member(c, normalisation={"mean": [0, 0, 0], "std": [0, 1, 1]}),
}


def change_scaling(contents, **changes):
    scaling = json.loads(contents[RECORD_PART])["backing"]["scaling"]
    change_backing(contents, scaling=scaling | changes)


@pytest.mark.parametrize("what", NONSENSE)
def test_numbers_that_cannot_be_are_refused_when_the_file_comes_in(workspace, kept, tmp_path, what):
    with pytest.raises(CheckpointMismatch):
        import_model(workspace, rewritten(kept, tmp_path / "foreign.mammotrace", NONSENSE[what]), "foreign")
    assert [model.name for model in kept_models(workspace)] == ["first"]


HOSTILE = {
    "changed weights": (change_a_weight, "changed since it was exported"),
    "swapped weights": (swap_the_weights, "not those of its record"),
    "other weights": (plant_other_weights, "not those of its record"),
    "no weights": (lambda parts: parts.pop("weights_2.safetensors"), "no part weights_2"),
    "no record": (lambda parts: parts.pop(RECORD_PART), "no part model.json"),
    "another format": (lambda parts: changed_record(parts, format="zip"), "not exported by MammoTrace"),
    "a newer version": (lambda parts: changed_record(parts, format_version=99), "Update MammoTrace"),
    "no members": (lambda parts: changed_record(parts, members=[]), "members"),
    "another task": (lambda parts: changed_record(parts, task="density"), "judges"),
    "broken JSON": (lambda parts: parts.update({RECORD_PART: b"{"}), "not readable as JSON"),
    "deep JSON": (lambda parts: parts.update({RECORD_PART: b"[" * 200_000}), "not readable as JSON"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_what_was_altered_is_refused_in_words_and_not_kept(workspace, kept, tmp_path, how):
    change, sentence = HOSTILE[how]
    file = rewritten(kept, tmp_path / "foreign.mammotrace", change)
    with pytest.raises(CheckpointMismatch, match=sentence) as caught:
        import_model(workspace, file, "foreign")
    assert str(tmp_path) not in str(caught.value)
    assert [model.name for model in kept_models(workspace)] == ["first"]


@pytest.mark.parametrize(
    "arch", ["no_such_network", "hf-hub:someone/else", "local-dir:/tmp"], ids=["unknown", "from a hub", "from a folder"]
)
def test_an_architecture_that_timm_does_not_bring_is_refused(workspace, kept, tmp_path, arch):
    def change(parts):
        record = json.loads(parts[RECORD_PART])
        for member in record["members"]:
            member["config"]["arch"] = arch
        changed_record(parts, members=record["members"])

    with pytest.raises(CheckpointMismatch, match="timm knows no model"):
        import_model(workspace, rewritten(kept, tmp_path / "f.mammotrace", change), "f")


def test_a_pickle_in_disguise_never_runs(workspace, kept, tmp_path):
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self):
            return (canary.write_text, ("ran",))

    def change(parts):
        import hashlib

        content = pickle.dumps(Bomb())
        hashes = json.loads(parts[RECORD_PART])["parts"]
        parts["weights_1.safetensors"] = content
        changed_record(parts, parts=hashes | {"weights_1.safetensors": hashlib.sha256(content).hexdigest()})

    with pytest.raises(CheckpointMismatch, match="no readable safetensors"):
        import_model(workspace, rewritten(kept, tmp_path / "f.mammotrace", change), "f")
    assert not canary.exists()


def test_a_bomb_is_not_unpacked(workspace, kept, tmp_path):
    file = tmp_path / "bomb.mammotrace"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(RECORD_PART, b" " * 5_000_000)
    with pytest.raises(CheckpointMismatch, match="compressed"):
        import_model(workspace, file, "bomb")


def test_features_of_another_network_are_refused_and_not_compared(workspace, runs):
    np.save(runs[0].embeddings, np.ones((40, 64), dtype=np.float32))
    with pytest.raises(CheckpointMismatch, match="do not belong together"):
        Predictor.load(workspace, [runs[0].id])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"\x89PNG"])
def test_what_is_no_archive_is_refused_and_listed_with_its_problem(workspace, content):
    workspace.models.mkdir()
    (workspace.models / "broken.mammotrace").write_bytes(content)
    (model,) = kept_models(workspace)
    assert model.record is None
    assert "not a model file" in model.problem
    with pytest.raises(CheckpointMismatch):
        Predictor.load(workspace, ["model:broken"])


def test_a_file_cut_short_anywhere_is_refused(workspace, kept, tmp_path):
    whole = kept.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        file = tmp_path / "cut.mammotrace"
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(CheckpointMismatch):
            import_model(workspace, file, "cut")


def test_a_model_that_is_not_there_is_named(workspace, kept):
    with pytest.raises(CheckpointMismatch, match="no file gone"):
        Predictor.load(workspace, ["model:gone"])
    with pytest.raises(MammoError, match="first"):
        export_model(workspace, "gone", workspace.home)


def test_a_model_thrown_away_lies_in_the_trash(workspace, kept):
    place = remove_model(workspace, "first")
    assert place.is_relative_to(workspace.trash)
    assert kept_models(workspace) == []
    assert trashed_models(workspace) == [place]
    assert list_trash(workspace) == [], "it is no run"
    put_back_model(workspace, place)
    assert [model.name for model in kept_models(workspace)] == ["first"]
    with pytest.raises(MammoError, match="not in the trash"):
        put_back_model(workspace, place)


def test_a_model_is_not_put_back_over_another_of_its_name(workspace, runs, kept):
    place = remove_model(workspace, "first")
    keep_model(workspace, [runs[0].id], "first")
    with pytest.raises(MammoError, match="already"):
        put_back_model(workspace, place)
