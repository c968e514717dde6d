import json
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from make_films import drawn_film, write_dicom
from make_models import ARCH, CLASSES, model_config, write_drawn_dataset, write_model, write_model_run
from mammo_core.analysis.backing import DEFAULT_RULE, threshold_facts
from mammo_core.data.decode_worker import pixel_sha256
from mammo_core.data.film import Film, FilmFacts
from mammo_core.data.preprocess import prepare
from mammo_core.data.reader import read_film
from mammo_core.errors import CheckpointMismatch, ConfigError, DataError, RunNotFound
from mammo_core.predict.ensemble import combine
from mammo_core.predict.predictor import Predictor
from mammo_core.predict.result_files import headline, prediction_json, prediction_pdf, prediction_png
from mammo_core.reading import read_text_table
from mammo_core.runs.run_dir import RunDir
from mammo_core.settings import RESEARCH_ONLY
from mammo_core.storage import write_table, write_text
from mammo_core.training.checkpoint import load_checkpoint, save_checkpoint
from mammo_core.workflows.prediction import Maps, predict_exams


def film_of(pixels, **facts):
    height, width = pixels.shape
    known = {"kind": "PNG", "bits": 8, "window": "as stored", "inverted": False, "decoder": "none"}
    return Film(pixels.astype(np.float32), FilmFacts(height=height, width=width, **known, **facts))


FILM = film_of(drawn_film((320, 256), "right"))


def by_hand(run, film):
    """Probabilities without any of the predictor's code: prepare, scale, normalise, softmax."""
    checkpoint = load_checkpoint(run.best_model)
    pixels = prepare(film, checkpoint.config.image_size).pixels / 255
    channels = [(pixels - m) / s for m, s in zip(checkpoint.normalisation.mean, checkpoint.normalisation.std, strict=True)]
    with torch.no_grad():
        logits = checkpoint.build_model()(torch.tensor(np.array(channels)[None], dtype=torch.float32))[0]
    return torch.softmax(logits.double(), 0).numpy()


def test_one_run_answers_with_the_softmax_of_its_model(workspace):
    run = write_model_run(workspace)
    prediction = Predictor.load(workspace, [run.id]).predict(FILM)
    expected = by_hand(run, FILM)
    assert list(prediction.probabilities) == list(CLASSES)
    np.testing.assert_allclose(list(prediction.probabilities.values()), expected, atol=1e-5)
    assert prediction.predicted == CLASSES[expected.argmax()]
    assert prediction.spread is None
    assert prediction.agreement == ""
    assert prediction.unfamiliar.flagged is None
    assert any("Mirrored" in step for step in prediction.steps)


def test_several_runs_are_averaged_with_the_sample_sd_of_the_predicted_class(workspace):
    runs = [write_model_run(workspace, f"exp/seed_{seed}", seed) for seed in (1, 2, 3)]
    prediction = Predictor.load(workspace, runs).predict(FILM)
    table = np.array([by_hand(run, FILM) for run in runs])
    np.testing.assert_allclose(list(prediction.probabilities.values()), table.mean(0), atol=1e-5)
    winner = table.mean(0).argmax()
    assert prediction.spread == pytest.approx(statistics.stdev(table[:, winner]), abs=1e-5)
    assert prediction.runs == tuple(run.id for run in runs)
    assert list(prediction.per_run) == list(prediction.runs)


def test_each_run_sees_the_film_on_its_own_canvas(workspace):
    runs = [write_model_run(workspace, "exp/seed_1", 1), write_model_run(workspace, "exp/seed_2", 1, image_size=(64, 128))]
    predictor = Predictor.load(workspace, runs)
    prediction = predictor.predict(FILM)
    for run in runs:
        np.testing.assert_allclose(list(prediction.per_run[run.id].values()), by_hand(run, FILM), atol=1e-5)
    assert [cam.values.shape for cam in predictor.explain(FILM, "B").cams] == [(96, 96), (64, 128)]


def test_disagreement_is_told_in_words():
    opinion = combine({"a": {"A": 0.9, "B": 0.1}, "b": {"A": 0.8, "B": 0.2}, "c": {"A": 0.3, "B": 0.7}})
    assert opinion.agreement == "The runs disagree: 2 of 3 say A, 1 of 3 say B."
    assert (opinion.predicted, opinion.is_unanimous) == ("A", False)
    assert opinion.spread == pytest.approx(statistics.stdev([0.9, 0.8, 0.3]))
    with pytest.raises(DataError):
        combine({"a": {"A": 1.0}, "b": {"B": 1.0}})


@pytest.mark.parametrize("changes", [{"task": "lesion"}, {"class_names": ("A", "C", "B")}, {"class_names": ("A", "B")}])
def test_a_run_of_another_task_is_refused(workspace, changes):
    write_model_run(workspace, "exp/seed_1")
    write_model_run(workspace, "other/seed_1", **changes)
    with pytest.raises(CheckpointMismatch, match="other/seed_1 was trained for"):
        Predictor.load(workspace, ["exp/seed_1", "other/seed_1"])


def test_what_cannot_predict_is_refused_in_words(workspace):
    with pytest.raises(ConfigError, match="No run"):
        Predictor.load(workspace, [])
    with pytest.raises(RunNotFound):
        Predictor.load(workspace, ["exp/none"])
    run = write_model_run(workspace)
    old = replace(load_checkpoint(run.best_model), preprocessing_version=0)
    save_checkpoint(run.best_model, old)
    with pytest.raises(CheckpointMismatch, match="prepared by version 0"):
        Predictor.load(workspace, [run])
    lacking = replace(old, preprocessing_version=1, weights=dict(list(old.weights.items())[1:]))
    save_checkpoint(run.best_model, lacking)
    with pytest.raises(CheckpointMismatch, match="do not fit"):
        Predictor.load(workspace, [run])
    run.best_model.unlink()
    with pytest.raises(CheckpointMismatch, match="no best_model.pth yet"):
        Predictor.load(workspace, [run])


def test_a_model_that_saw_only_phantoms_warns_about_real_films_alone(workspace):
    run = RunDir(workspace.experiments / "exp" / "seed_42")
    write_model(run, model_config(), synthetic=True)
    predictor = Predictor.load(workspace, [run])
    assert any("synthetic" in warning for warning in predictor.predict(FILM).warnings)
    phantom = film_of(FILM.pixels, vendor="MammoTrace phantom A")
    assert not any("synthetic" in warning for warning in predictor.predict(phantom).warnings)


def test_an_unfamiliar_film_is_said_to_be_one(workspace):
    run = write_model_run(workspace)
    films = [film_of(drawn_film((160, 128), seed=seed)) for seed in range(10)]
    predictor = Predictor.load(workspace, [run])
    member = predictor.members[0]
    pooled = [predictor._forward(member, prepare(film, (96, 96)))[0] for film in films]
    np.save(run.embeddings, np.stack(pooled))
    predictor = Predictor.load(workspace, [run])
    noise = film_of(np.random.default_rng(0).random((160, 128)))
    strange, known = predictor.predict(noise), predictor.predict(films[0])
    assert strange.unfamiliar.flagged is True
    assert strange.warnings[0].startswith("This film is unlike")
    assert known.unfamiliar.flagged is False


def test_a_training_film_is_recognised_by_its_content(workspace):
    folder = write_drawn_dataset(workspace, {"i1": "A", "i2": "B"}, CLASSES)
    run = write_model_run(workspace)
    write_text(run.split_table, "image_id,patient_id,group_id,split,fold\ni1,p1,p1,train,\ni2,p2,p2,val,\n")
    films = {image_id: read_film(folder / f"{image_id}.png") for image_id in ("i1", "i2")}
    paths = read_text_table(workspace.dataset("drawn") / "paths.csv")
    paths["sha256"] = [pixel_sha256(films[image_id].pixels) for image_id in paths["image_id"]]
    write_table(workspace.dataset("drawn") / "paths.csv", paths)
    predictor = Predictor.load(workspace, [run])
    assert any("among the training films" in warning for warning in predictor.predict(films["i1"]).warnings)
    assert not any("among the training films" in warning for warning in predictor.predict(films["i2"]).warnings)


def test_the_map_of_an_ensemble_is_the_mean_on_the_film(workspace):
    runs = [write_model_run(workspace, f"exp/seed_{seed}", seed) for seed in (1, 2)]
    both = Predictor.load(workspace, runs).explain(FILM, "A", "layercam")
    alone = [Predictor.load(workspace, [run]).explain(FILM, "A", "layercam").map for run in runs]
    assert both.map.shape == FILM.pixels.shape
    np.testing.assert_allclose(both.map, np.mean(alone, axis=0), atol=1e-6)
    assert "Mean of 2 runs" in both.statement


def test_the_size_of_a_cell_is_stated_in_millimetres(workspace):
    run = write_model_run(workspace)
    film = film_of(FILM.pixels, pixel_spacing_mm=(0.5, 0.5))
    explanation = Predictor.load(workspace, [run]).explain(film, "A", "layercam")
    cell = 32 / prepare(film, (96, 96)).geometry.scale * 0.5
    assert explanation.cell_mm == pytest.approx((cell, cell))
    assert f"{cell:.0f} x {cell:.0f} mm" in explanation.statement


def test_an_unknown_class_is_refused(workspace):
    write_model_run(workspace)
    with pytest.raises(ConfigError, match="knows no class 'Z'"):
        Predictor.load(workspace, ["exp/seed_42"]).explain(FILM, "Z")


@pytest.fixture
def mixed_files(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray((drawn_film((160, 128)) * 255).astype(np.uint8)).save(folder / "DOE_JANE_1950.png")
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 50)
    stored = (drawn_film((160, 128), "right") * 4095).astype(np.uint16)
    write_dicom(folder / "film.dcm", stored, BitsStored=12, HighBit=11, PatientName="Doe^Jane", PatientID="secret-4711")
    return [folder / "DOE_JANE_1950.png", folder / "broken.dcm", folder / "absent.png", folder / "film.dcm"]


def test_files_are_answered_in_their_order_with_a_sentence_for_each_that_failed(workspace, mixed_files):
    write_model_run(workspace)
    rows = predict_exams(workspace, ["exp/seed_42"], mixed_files).rows
    assert [row["image"] for row in rows] == [str(path) for path in mixed_files]
    keys = {"image", "predicted", "probabilities", "spread", "unfamiliar", "warnings", "runs", "error"}
    assert all(keys <= set(row) and {"flagged", "score", "threshold"} <= set(row["unfamiliar"]) for row in rows)
    assert [row["error"] is None for row in rows] == [True, False, False, True]
    assert rows[0]["predicted"] in CLASSES
    assert sum(rows[3]["probabilities"].values()) == pytest.approx(1)
    for row in rows[1:3]:
        assert (row["predicted"], row["probabilities"]) == (None, {})
        assert str(mixed_files[0].parent) not in row["error"]
    json.dumps(rows, allow_nan=False)


def test_a_folder_stands_for_the_films_in_it_and_maps_are_named_by_content(workspace, mixed_files, tmp_path):
    write_model_run(workspace)
    folder = mixed_files[0].parent
    (folder / "notes.txt").write_text("not a film")
    mixed_files[1].unlink()
    rows = predict_exams(workspace, ["exp/seed_42"], [folder], Maps(tmp_path / "maps", "layercam")).rows
    assert [row["image"] for row in rows] == [str(folder / "DOE_JANE_1950.png"), str(folder / "film.dcm")]
    written = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert written == sorted(f"film_{row['film_id']}_{row['predicted']}.png" for row in rows)
    assert written == sorted(row["gradcam"] for row in rows)


def test_an_empty_folder_or_nothing_at_all_is_refused(workspace, tmp_path):
    write_model_run(workspace)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="'empty' holds no film"):
        predict_exams(workspace, ["exp/seed_42"], [tmp_path / "empty"])
    with pytest.raises(DataError, match="No film was named"):
        predict_exams(workspace, ["exp/seed_42"], [])


def test_a_map_that_fails_is_an_error_beside_the_probabilities(workspace, mixed_files, tmp_path):
    write_model_run(workspace, arch="xcit_nano_12_p16_224")  # its last layer yields tokens, not a grid
    (row,) = predict_exams(workspace, ["exp/seed_42"], mixed_files[:1], Maps(tmp_path / "maps")).rows
    assert "No map could be made" in row["error"]
    assert row["gradcam"] is None
    assert sum(row["probabilities"].values()) == pytest.approx(1)
    assert not list((tmp_path / "maps").iterdir())


def test_saved_results_name_no_patient_and_no_file(workspace, tmp_path):
    write_model_run(workspace)
    stored = (drawn_film((160, 128)) * 4095).astype(np.uint16)
    path = write_dicom(tmp_path / "DOE_JANE.dcm", stored, BitsStored=12, HighBit=11, PatientName="Doe^Jane", StudyDate="19991231")
    film = read_film(path)
    assert film.facts.patient_key == "secret-4711"
    predictor = Predictor.load(workspace, ["exp/seed_42"])
    prediction = predictor.predict(film)
    explanation = predictor.explain(film, prediction.predicted)
    everything = repr(prediction) + repr(explanation.statement)  # the PDF's own text is compressed
    assert not any(secret in everything for secret in ("Doe", "DOE", "secret", "1999"))
    saved = prediction_json(prediction, explanation)
    content = json.loads(saved)
    assert content["disclaimer"] == RESEARCH_ONLY
    assert content["film_id"] == pixel_sha256(film.pixels)[:12]
    assert content["models"][0]["split_sha256"] == "ab" * 32
    judged = threshold_facts(prediction.backing, "film", DEFAULT_RULE, prediction.raw_probabilities)
    assert {key: content[key] for key in ("threshold", "threshold_reason")} == judged
    for made in (saved, prediction_png(film, prediction, explanation), prediction_pdf(film, prediction, explanation)):
        for secret in (b"Doe", b"DOE", b"secret-4711", b"19991231"):
            assert secret not in made


def test_the_pdf_has_one_page_however_long_its_text_is(workspace):
    write_model_run(workspace, arch=ARCH)
    predictor = Predictor.load(workspace, ["exp/seed_42"])
    prediction = replace(predictor.predict(FILM), warnings=tuple(f"Warning {n}: " + "words <&> " * 30 for n in range(40)))
    pdf = prediction_pdf(FILM, prediction, predictor.explain(FILM, "A"))
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") == 1
    assert RESEARCH_ONLY.encode() in pdf  # in the metadata; the page's own text is compressed
    assert prediction_pdf(FILM, predictor.predict(FILM)).startswith(b"%PDF")


def test_the_result_in_one_sentence_states_spread_and_number_of_runs(workspace):
    for seed in (1, 2):
        write_model_run(workspace, f"exp/seed_{seed}", seed)
    prediction = Predictor.load(workspace, ["exp/seed_1", "exp/seed_2"]).predict(FILM)
    score = prediction.probabilities[prediction.predicted]
    assert headline(prediction) == f"Predicted {prediction.predicted}, score {score:.2f}, SD {prediction.spread:.2f} over 2 runs."


def test_side_and_view_of_the_manifest_count_only_where_the_file_is_silent():
    silent = FILM.known_as("L", "MLO")
    assert (silent.facts.laterality, silent.facts.view) == ("L", "MLO")
    assert silent.pixels is FILM.pixels
    stated = film_of(FILM.pixels, laterality="R", view="CC").known_as("L", "MLO")
    assert (stated.facts.laterality, stated.facts.view) == ("R", "CC")
    assert FILM.known_as("", "").facts == FILM.facts


def test_a_model_of_one_view_says_so_on_a_film_of_another(workspace):
    write_model_run(workspace, "exp/cc", view="CC")
    write_model_run(workspace, "exp/mlo", view="MLO")
    one, both = Predictor.load(workspace, ["exp/cc"]), Predictor.load(workspace, ["exp/cc", "exp/mlo"])
    films = {view: film_of(FILM.pixels, view=view) for view in ("CC", "MLO", None)}

    def told(predictor, view):
        return [warning for warning in predictor.predict(films[view]).warnings if "learnt from" in warning]

    assert told(one, "CC") == []
    assert told(one, "MLO") == [
        "This film is of the view MLO, which was not learnt from (exp/cc from CC films only), so the answer means little."
    ]
    assert "view of this film is not known" in told(one, None)[0]
    assert "(exp/mlo from MLO films only)" in told(both, "CC")[0]
    write_model_run(workspace, "exp/all")
    assert told(Predictor.load(workspace, ["exp/all"]), "MLO") == []
