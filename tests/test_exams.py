import dataclasses
import json
import statistics
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mammo_core.analysis.backing import Asked, Backing, Scaling, judge
from mammo_core.analysis.levels import at_level
from mammo_core.data.film import FilmFacts
from mammo_core.errors import DataError
from mammo_core.predict.exam_films import MIXED_PATIENTS, ExamFilm, view_name
from mammo_core.predict.exam_rows import exam_row
from mammo_core.predict.exams import DILUTED, exam_opinions
from mammo_core.predict.predictor import Prediction
from mammo_core.predict.unfamiliar import Unfamiliar
from mammo_core.workflows.prediction import exam_lines

CLASSES = ("A", "B", "C", "D")
KNOWN = {"kind": "DICOM", "height": 8, "width": 8, "bits": 12, "window": "as stored", "inverted": False, "decoder": "none"}


def prediction_of(per_run, film_id, warnings=(), flagged=False):
    names = list(next(iter(per_run.values())))
    mean = {name: float(np.mean([row[name] for row in per_run.values()])) for name in names}
    return Prediction(
        film_id=film_id,
        predicted=max(mean, key=mean.__getitem__),
        probabilities=mean,
        per_run=per_run,
        spread=None,
        agreement="",
        unfamiliar=Unfamiliar(flagged, None, None, ""),
        warnings=tuple(warnings),
        steps=(),
        runs=tuple(per_run),
        task="density",
        origins=(),
        made_at="",
    )


def film_of(index, side="L", view="CC", scores=(0.1, 0.6, 0.2, 0.1), study="1.2.3", names=CLASSES, **more):
    """``scores`` of one run, or a list of them; ``patient, modifiers, group`` and what ``prediction_of`` takes."""
    rows = scores if isinstance(scores, list) else [scores]
    per_run = {f"e/seed_{number}": dict(zip(names, row, strict=True)) for number, row in enumerate(rows, start=1)}
    facts = FilmFacts(
        **KNOWN,
        laterality=side,
        view=view,
        study_key=study,
        patient_key=more.pop("patient", "MILLER-1"),
        view_modifiers=more.pop("modifiers", ()),
        modality=more.pop("modality", None),
    )
    group = more.pop("group", "")
    return ExamFilm(index, prediction_of(per_run, more.pop("film_id", f"id{index}"), **more), facts, group)


def random_films(n, runs=3, seed=0):
    rng = np.random.default_rng(seed)
    places = [("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"), ("L", "CC"), (None, "CC")]
    films = []
    for index in range(n):
        side, view = places[rng.integers(len(places))]
        rows = [tuple(row) for row in rng.dirichlet(np.ones(4), size=runs)]
        films.append(film_of(index, side, view, rows, study=f"1.2.{rng.integers(5)}"))
    return films


@pytest.mark.parametrize("seed", range(5))
def test_means_and_calls_are_those_that_validation_computes_for_breasts_and_exams(seed):
    films = random_films(30, seed=seed)
    table = pd.DataFrame(
        {
            "image_id": [f"i{film.index}" for film in films],
            "patient_id": "p",
            "center": "1",
            "exam_id": [film.facts.study_key for film in films],
            "laterality": [film.facts.laterality or "" for film in films],
            "y_true": "A",
            "y_pred": [film.prediction.predicted for film in films],
            **{f"prob_{name}": [film.prediction.probabilities[name] for film in films] for name in CLASSES},
        }
    )
    expected = {level: at_level(table, level, CLASSES, True).table.set_index("image_id") for level in ("breast", "exam")}
    seen = {"breast": 0, "exam": 0}
    for exam in exam_opinions(films):
        study = films[exam.indices[0]].facts.study_key
        for opinion in (exam.whole, *exam.breasts):
            key = f"p / {study}" if opinion.side is None else f"p / {study} / {opinion.side}"
            row = expected[opinion.level].loc[key]
            np.testing.assert_allclose(list(opinion.probabilities.values()), [row[f"prob_{name}"] for name in CLASSES])
            assert opinion.predicted == row["y_pred"]
            seen[opinion.level] += 1
    assert seen == {level: len(table) for level, table in expected.items()}


def test_an_exam_is_the_mean_over_its_films_and_not_over_its_breasts():
    scores = [("L", "CC", (1.0, 0, 0, 0)), ("L", "MLO", (1.0, 0, 0, 0)), ("R", "CC", (0, 1.0, 0, 0))]
    (exam,) = exam_opinions([film_of(n, side, view, row) for n, (side, view, row) in enumerate(scores)])
    assert exam.whole.probabilities == pytest.approx({"A": 2 / 3, "B": 1 / 3, "C": 0, "D": 0})
    assert [breast.predicted for breast in exam.breasts] == ["A", "B"]
    assert "The left breast has more films (2 of 3), so it counts more." in exam.whole.words
    assert exam.differing == "The left breast is called A (> 0.99), the right B (> 0.99)."


def test_the_spread_over_runs_is_the_sample_sd_of_each_runs_own_mean():
    runs = [[(0.1, 0.6, 0.2, 0.1), (0.1, 0.8, 0.1, 0.0)], [(0.3, 0.4, 0.2, 0.1), (0.2, 0.7, 0.1, 0.0)]]
    (exam,) = exam_opinions([film_of(0, "L", "CC", runs[0]), film_of(1, "L", "MLO", runs[1])])
    assert exam.whole.per_run["e/seed_1"]["B"] == pytest.approx(0.5)
    assert exam.whole.per_run["e/seed_2"]["B"] == pytest.approx(0.75)
    assert exam.whole.spread == pytest.approx(statistics.stdev([0.5, 0.75]))
    assert exam.whole.view_range == pytest.approx((0.55, 0.7))
    assert exam.whole.agreement == "All 2 runs say B."
    (alone,) = exam_opinions([film_of(0)])
    assert (alone.whole.spread, alone.whole.view_range, alone.whole.words) == (None, None, "One film only (film 1: L CC).")


def test_views_that_disagree_are_told_in_words():
    b, c = (0.1, 0.61, 0.19, 0.1), (0.1, 0.3, 0.55, 0.05)
    (exam,) = exam_opinions([film_of(0, "L", "CC", b), film_of(1, "L", "MLO", c)])
    assert exam.breasts[0].disagreement == "The CC view (film 1) says B (0.61), the MLO view (film 2) C (0.55)."
    assert exam.whole.disagreement == "The L CC view (film 1) says B (0.61), the L MLO view (film 2) C (0.55)."
    (repeat,) = exam_opinions([film_of(0, "L", "CC", b), film_of(3, "L", "CC", c), film_of(4, "L", None, b)])
    assert repeat.breasts[0].disagreement == "The CC view (film 1) says B (0.61), the CC view (film 4) C (0.55), film 5 B (0.61)."
    (many,) = exam_opinions([film_of(n, "L", "CC", c if n == 2 else b) for n in range(5)])
    assert many.whole.disagreement == "The 5 views disagree: 4 say B (films 1, 2, 4, 5), 1 says C (film 3)."
    (same,) = exam_opinions([film_of(0, "L", "CC", b), film_of(1, "R", "CC", b)])
    assert (same.whole.disagreement, same.differing) == ("", "")


def test_a_finding_in_one_breast_is_not_hidden_in_the_mean_of_both():
    names = ("Normal", "Benign", "Malignant")
    films = [film_of(0, "L", "CC", (0.9, 0.1, 0.0), names=names), film_of(1, "R", "CC", (0.2, 0.2, 0.6), names=names)]
    (exam,) = exam_opinions(films)
    assert exam.whole.predicted == "Normal"
    assert exam.differing == f"The left breast is called Normal (0.90), the right Malignant (0.60). {DILUTED}"


def test_repeats_and_unknown_views_count_and_are_said():
    places = [("L", "CC"), ("L", "CC"), ("R", "MLO"), (None, None), (None, "CC")]
    (exam,) = exam_opinions([film_of(n, side, view) for n, (side, view) in enumerate(places)])
    assert exam.whole.words == (
        "Mean of 5 films (film 1: L CC, film 2: L CC, film 3: R MLO, film 4: unknown view, film 5: CC of unknown side). L CC was "
        "taken more than once; each of these films counts. The left breast has more films (2 of 5), so it counts more. Films "
        "that do not state their side count for the exam but for no breast: 2."
    )
    assert [len(breast.views) for breast in exam.breasts] == [2, 1]
    assert [view_name(*place) for place in (("L", "CC"), ("L", None), (None, "CC"), (None, None))] == [
        "L CC", "L of unknown view", "CC of unknown side", "unknown view",
    ]  # fmt: skip


def test_special_views_and_second_copies_are_left_out_with_the_reason():
    films = [
        film_of(0, "L", "CC"),
        film_of(1, "L", "CC", (1.0, 0, 0, 0), modifiers=("magnification",)),
        film_of(2, "L", "CC", film_id="id0"),
        film_of(3, None, "SPECIMEN", (1.0, 0, 0, 0)),
    ]
    (exam,) = exam_opinions(films)
    assert exam.whole.probabilities == films[0].prediction.probabilities
    assert [film.words for film in exam.left_out] == [
        "Film 2 (L CC) is left out: it is a special view (magnification), and only standard views are averaged.",
        "Film 3 (L CC) is left out: it is the same picture as film 1.",
        "Film 4 (SPECIMEN of unknown side) is left out: it is a special view (specimen), and only standard views are averaged.",
    ]
    assert exam.indices == (0, 1, 2, 3)
    (nothing,) = exam_opinions(films[1:2])
    assert (nothing.whole, nothing.breasts, nothing.indices) == (None, (), (1,))
    json.dumps(exam_row(nothing), allow_nan=False)


def test_films_are_grouped_by_study_and_numbered_as_they_first_appear():
    films = [film_of(0, study="9"), film_of(1, study=None), film_of(2, study="1"), film_of(3, "R", study="9")]
    exams = exam_opinions(films)
    assert [(exam.title, exam.basis, exam.indices) for exam in exams] == [
        ("Exam 1", "study", (0, 3)), ("Exam 2", "alone", (1,)), ("Exam 3", "study", (2,)),
    ]  # fmt: skip
    assert exams[0].breasts[1].title == "Exam 1, right breast"


def test_two_patients_in_one_study_are_kept_apart_with_a_warning():
    films = [film_of(n, patient=patient) for n, patient in enumerate(("MILLER", "DOE", "MILLER"))]
    exams = exam_opinions(films)
    assert [exam.indices for exam in exams] == [(0, 2), (1,)]
    assert all("different patients" in exam.warnings[0] for exam in exams)
    (one,) = exam_opinions([film_of(0, patient="MILLER"), film_of(1, patient=None)])
    assert one.warnings == ()


def test_pictures_that_are_no_mammogram_or_unlike_the_known_films_count_for_no_mean():
    odd = (1.0, 0, 0, 0)
    films = [
        film_of(0, "L", "CC", modality="MG"),
        film_of(1, "L", "MLO", odd, modality="CT"),
        film_of(2, "R", "CC", odd, flagged=True),
        film_of(3, "R", "CC", flagged=None),
    ]
    (exam,) = exam_opinions(films)
    assert [view.label for view in exam.whole.views] == ["film 1: L CC", "film 4: R CC"]
    assert exam.whole.probabilities == pytest.approx(films[0].prediction.probabilities)
    assert [film.words for film in exam.left_out] == [
        "Film 2 (L MLO) is left out: the file's modality is CT, not mammography (MG).",
        "Film 3 (R CC) is left out: it is unlike the films that the model knows.",
    ]
    (chest,) = exam_opinions([film_of(0, study=None, patient=None, modality="CR")])
    assert chest.whole is None


def test_films_of_several_patients_in_a_named_exam_are_told_before_its_means():
    films = [film_of(n, view=view, patient=patient) for n, (view, patient) in enumerate((("CC", "MILLER"), ("MLO", "DOE")))]
    lines = exam_lines(exam_opinions(films, one_exam=True))
    assert lines[0] == f"Exam 1: {MIXED_PATIENTS}"
    assert lines[1].startswith("Exam 1: B (score 0.60). Mean of 2 films (film 1: L CC, film 2: L MLO).")


def test_an_exam_of_one_film_is_told_once():
    (one,) = exam_opinions([film_of(0)])
    assert (one.shown, len(one.breasts)) == ((one.whole,), 1)
    assert len(exam_lines([one])) == 1
    (two,) = exam_opinions([film_of(0), film_of(1, "R")])
    assert [opinion.title for opinion in two.shown] == ["Exam 1", "Exam 1, left breast", "Exam 1, right breast"]


def backing_with(temperature=1.0, **usual):
    """Thresholds 0.5 for C or D on films and on breasts and exams of so many films."""
    rate = {"value": 0.8, "ci_low": 0.7, "ci_high": 0.9}
    point = {"rule": "youden", "threshold": 0.5, "sensitivity": rate, "specificity": rate}
    asked = Asked(key="dense", title="C or D against the rest", positive=("C", "D"), negative=("A", "B"))
    levels = [
        {"level": level, "cases": 40, "patients": 20, "positives": 20, "usual_films": films, "points": [point]}
        for level, films in {"film": 1, **usual}.items()
    ]
    backing = Backing.model_validate({"joined": "x", "question": asked.model_dump(), "levels": levels})
    return (
        backing if temperature == 1 else backing.model_copy(update={"scaling": Scaling.model_construct(temperature=temperature)})
    )


def test_thresholds_are_held_against_the_mean_of_scores_before_scaling_and_the_number_of_films():
    backing = backing_with(2.0, breast=2, exam=4)
    raw = [(0.1, 0.1, 0.7, 0.1), (0.3, 0.3, 0.3, 0.1)]
    films = []
    for n, (scores, view) in enumerate(zip(raw, ("CC", "MLO"), strict=True)):
        film = film_of(n, "L", view, scores)
        own = film.prediction.probabilities
        answer = dataclasses.replace(film.prediction, probabilities=backing.scaled(own), raw_probabilities=own, backing=backing)
        films.append(dataclasses.replace(film, prediction=answer))
    (exam,) = exam_opinions(films)
    row = exam_row(exam, "youden")
    (breast,) = row["breasts"]
    assert breast["threshold"]["score"] == pytest.approx((0.8 + 0.4) / 2)
    assert (breast["threshold"]["called"], breast["threshold"]["rule"], breast["threshold_reason"]) == (True, "youden", None)
    assert breast["probabilities"] != breast["raw_probabilities"]
    assert row["whole"]["threshold"] is None
    assert row["whole"]["threshold_reason"] == judge(backing, "exam", "youden", exam.whole.raw_probabilities, 2)
    (one,) = exam_opinions(films[1:])
    assert exam_row(one)["whole"]["threshold"]["level"] == "film"
    assert exam_row(one)["whole"]["threshold"]["called"] is False
    json.dumps(row, allow_nan=False)


def test_the_caller_may_say_that_all_films_or_those_of_one_folder_are_one_exam():
    films = [film_of(0, study=None, patient=None), film_of(1, study="1"), film_of(2, study="2", patient="DOE")]
    (exam,) = exam_opinions(films, one_exam=True)
    assert (exam.basis, exam.indices) == ("named", (0, 1, 2))
    assert ["patient ids" in exam.warnings[0], "come from 2 studies" in exam.warnings[1]] == [True, True]
    folders = [film_of(n, study="1", group=group) for n, group in enumerate(("/a", "/b", "/a"))]
    assert [exam.indices for exam in exam_opinions(folders)] == [(0, 2), (1,)]


def test_warnings_of_the_films_stand_once_and_say_which_views_they_are_about():
    shared, own = "Of all films.", "The file says that the breast holds an implant."
    films = [
        film_of(0, warnings=(shared, own)),
        film_of(1, "R", "MLO", warnings=(shared,)),
        film_of(2, "L", "MLO", warnings=(shared, own)),
    ]
    (exam,) = exam_opinions(films)
    assert exam.whole.warnings == (shared, f"About film 1: L CC, film 3: L MLO. {own}")
    assert exam.breasts[0].warnings == (shared, own)


@pytest.mark.parametrize("flags, expected", [((False, True, None), None), ((False, None), None), ((False, True, False), False)])
def test_a_film_that_could_not_be_judged_decides_whether_the_exam_is_familiar(flags, expected):
    (exam,) = exam_opinions([film_of(n, flagged=flag) for n, flag in enumerate(flags)])
    assert exam.whole.unfamiliar is expected


def test_films_that_other_runs_judged_are_refused():
    with pytest.raises(DataError, match="different runs"):
        exam_opinions([film_of(0), film_of(1, scores=[(0.1, 0.6, 0.2, 0.1)] * 2)])
    assert exam_opinions([]) == ()


def test_nothing_that_identifies_a_person_comes_out():
    films = [
        film_of(n, study="1.2.840.4711", patient=p, group="DOE_JANE" * (n > 1)) for n, p in enumerate(("MILLER", "DOE", "DOE"))
    ]
    exams = exam_opinions(films)
    everything = repr(exams) + json.dumps([exam_row(exam) for exam in exams], allow_nan=False)
    assert not any(secret in everything for secret in ("4711", "MILLER", "DOE", "JANE"))


def test_the_record_of_an_exam_holds_what_a_reader_needs():
    row = exam_row(exam_opinions(random_films(1, runs=2))[0])
    assert set(row) == {"exam", "basis", "films", "whole", "breasts", "breasts_differ", "left_out", "warnings"}
    assert {"predicted", "probabilities", "per_run", "spread", "view_range", "views", "words"} <= set(row["whole"])


def test_joining_needs_no_torch():
    code = "import sys, mammo_core.predict.exams, mammo_core.workflows.prediction_batches; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
