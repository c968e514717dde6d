"""The choices above a map: classes, then the questions that matter; and only methods that the model can do."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from mammo_core.explain.methods import FINE_METHODS, METHOD_TITLES

APP = """
import streamlit as st
from make_models import model_config
from pages.shared.film_view import map_choices

arch = st.radio("arch", ["efficientnet_b0", "vit_small_patch16_224"], key="arch")
task = st.radio("task", ["density", "lesion", "unknown"], key="task")
names = {"density": ("A", "B", "C", "D"), "lesion": ("Normal", "Benign", "Malignant"), "unknown": ("x", "y")}[task]
configs = [model_config(arch=arch, class_names=names, ordinal=task == "density")] if task != "unknown" else []
st.session_state["answer"] = map_choices(task, names, names[1], configs)
"""


@pytest.fixture
def app() -> AppTest:
    tested = AppTest.from_string(APP, default_timeout=30).run()
    assert not tested.exception
    return tested


def test_classes_come_first_then_the_questions_of_the_task(app):
    assert app.selectbox(key="density_class").options == [
        "A", "B", "C", "D", "C or D against A or B", "Expected category (A to D)",
    ]  # fmt: skip
    assert app.session_state["answer"] == ("B", "gradcam")
    app.selectbox(key="density_class").select("C or D against A or B").run()
    assert app.session_state["answer"] == ("C or D against A or B", "gradcam")
    app.radio(key="task").set_value("lesion").run()
    assert app.selectbox(key="lesion_class").options[3] == "Malignant against the rest"
    app.radio(key="task").set_value("unknown").run()
    assert app.selectbox(key="unknown_class").options == ["x", "y"]


def test_a_method_that_the_model_cannot_do_is_not_offered_nor_kept(app):
    assert app.selectbox(key="map_method").options == list(METHOD_TITLES.values())
    app.selectbox(key="map_method").select("layercam_fine").run()
    assert app.session_state["answer"][1] == "layercam_fine"
    app.radio(key="arch").set_value("vit_small_patch16_224").run()
    assert not app.exception
    assert len(app.selectbox(key="map_method").options) == len(METHOD_TITLES) - len(FINE_METHODS)
    assert app.session_state["answer"][1] not in FINE_METHODS
