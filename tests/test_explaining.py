"""The map of a film over all runs of a predictor: any target, words that fit it, and what a file says of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from make_films import drawn_film
from make_models import write_model_run
from mammo_core.data.film import Film, FilmFacts
from mammo_core.data.preprocess import prepare
from mammo_core.errors import ConfigError
from mammo_core.explain.alarms import alarms, film_regions
from mammo_core.explain.gradcam import explain, to_film
from mammo_core.explain.targets import targets_of
from mammo_core.predict.predictor import Predictor
from mammo_core.predict.result_files import map_facts

FACTS = FilmFacts(
    kind="DICOM", height=320, width=256, bits=8, window="-", inverted=False, decoder="-", pixel_spacing_mm=(0.4, 0.4), view="MLO"
)
FILM = Film(drawn_film((320, 256), "right"), FACTS)


@pytest.fixture
def predictor(workspace) -> Predictor:
    runs = [write_model_run(workspace, f"exp/seed_{seed}", seed, ordinal=True) for seed in (1, 2)]
    return Predictor.load(workspace, runs)


def test_every_target_has_a_map_that_is_the_mean_of_the_runs_and_words_that_name_it(predictor):
    prepared = prepare(FILM, (96, 96))
    for target in targets_of(predictor.class_names, ordinal=True):
        explanation = predictor.explain(FILM, target.name, "layercam")
        cams = [
            explain(member.model, member.checkpoint.normalisation, prepared.pixels, target, "layercam")
            for member in predictor.members
        ]
        expected = np.mean([to_film(cam, prepared.geometry) for cam in cams], axis=0)
        np.testing.assert_allclose(explanation.map, expected, atol=1e-6)
        assert explanation.class_name == target.name
        assert target.subject in explanation.statement
        assert "found" not in explanation.statement


def test_the_key_of_a_question_will_do_too(predictor):
    assert predictor.explain(FILM, "dense").class_name == "C against A or B"


def test_a_question_of_another_task_is_refused_with_what_there_is(predictor):
    with pytest.raises(ConfigError, match=r"'Malignant against the rest'.*Expected category \(A to C\)"):
        predictor.explain(FILM, "Malignant against the rest")


def test_the_finer_map_states_its_smaller_cells(predictor):
    coarse, fine = (predictor.explain(FILM, "B", method) for method in ("layercam", "layercam_fine"))
    assert (coarse.cams[0].cells, fine.cams[0].cells) == ((3, 3), (6, 6))
    assert fine.cell_mm == pytest.approx([side / 2 for side in coarse.cell_mm])
    if not fine.empty:
        assert f"A cell covers about {fine.cell_mm[0]:.0f} x {fine.cell_mm[1]:.0f} mm of the film." in fine.statement


def test_alarms_are_the_mean_over_the_runs_and_stand_in_the_file(predictor):
    explanation = predictor.explain(FILM, "B", "hirescam")
    prepared, regions = prepare(FILM, (96, 96)), film_regions(FILM)
    found = [alarms(cam, prepared, to_film(cam, prepared.geometry), regions) for cam in explanation.cams]
    for name in ("outside_breast", "on_border", "on_markers"):
        known = [getattr(one, name) for one in found if getattr(one, name) is not None]
        assert getattr(explanation.alarms, name) == (pytest.approx(np.mean(known)) if known else None)
    told = json.loads(json.dumps(map_facts(explanation), allow_nan=False))
    names = ("outside_breast", "on_border", "border_area", "on_markers", "on_pectoral", "pectoral_area")
    assert {name: told[name] for name in names} == {name: getattr(explanation.alarms, name) for name in names}
    assert told["alarms"] == list(explanation.alarms.sentences)
