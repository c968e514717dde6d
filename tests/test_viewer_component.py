"""The viewer on the app's side: what it tells the browser, and that no film goes over twice."""

from __future__ import annotations

import gc
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from mammo_core.explain.rendering import coloured
from mammo_core.explain.viewer_image import decode
from pages.shared import viewer

APP = """
import numpy as np
import streamlit as st
from mammo_core.data.film import Film, FilmFacts
from pages.shared.viewer import Look, Side, film_viewer, pair_viewer

@st.cache_resource
def films():
    made = []
    for seed in (1, 2):
        pixels = (np.random.default_rng(seed).integers(0, 4096, (120, 80)) / np.float32(4095)).astype(np.float32)
        facts = FilmFacts(kind="PNG", height=120, width=80, bits=12, window="as stored", inverted=False, decoder="none")
        made.append(Film(pixels, facts))
    return *made, np.linspace(0, 1, 120 * 80, dtype=np.float32).reshape(120, 80)

first, second, map_ = films()
what = st.radio("Show", ["film", "map", "pair"], key="what")
opacity = st.slider("Opacity", 0.0, 1.0, 0.4, key="opacity")
if what == "film":
    film_viewer(first, "one")
elif what == "map":
    film_viewer(first, "two", map_, Look(mode="swipe", opacity=opacity, lines=True), height=500)
else:
    pair_viewer(Side(first, "Left"), Side(second, "Right", map_), "three")
"""


@pytest.fixture
def app() -> AppTest:
    tested = AppTest.from_string(APP, default_timeout=30).run()
    assert not tested.exception
    return tested


def _told(app: AppTest) -> dict[str, Any]:
    (component,) = app.get("bidi_component")
    return json.loads(component.proto.json)


def test_a_film_alone_has_one_side_and_no_colours(app):
    told = _told(app)
    assert [(side["label"], side["map"]) for side in told["sides"]] == [("Film", None)]
    assert told["palette"] is None
    assert told["look"] == {"mode": "one", "opacity": 0.4, "lines": False}


def test_a_film_with_its_map_has_the_plain_film_to_compare_with(app):
    app.radio(key="what").set_value("map").run()
    told = _told(app)
    plain, mapped = told["sides"]
    assert plain["film"] == mapped["film"]
    assert plain["map"] is None and mapped["map"]["sha256"] != mapped["film"]["sha256"]
    assert told["one"] == 1
    assert told["look"] == {"mode": "swipe", "opacity": 0.4, "lines": True}
    assert told["height"] == 500


def test_the_colours_are_those_of_saved_pictures(app):
    app.radio(key="what").set_value("map").run()
    table = np.frombuffer(bytes.fromhex(_told(app)["palette"]), np.uint8).reshape(256, 3)
    ramp = np.arange(256, dtype=np.float32)[None] / 255
    np.testing.assert_array_equal(table, coloured(ramp)[0])


def test_two_films_open_side_by_side(app):
    app.radio(key="what").set_value("pair").run()
    told = _told(app)
    assert [side["label"] for side in told["sides"]] == ["Left", "Right"]
    assert told["sides"][0]["film"]["sha256"] != told["sides"][1]["film"]["sha256"]
    assert told["look"]["mode"] == "pair"


def test_a_rerun_sends_the_same_few_bytes_and_makes_no_picture_anew(app, monkeypatch):
    app.radio(key="what").set_value("map").run()
    before = app.get("bidi_component")[0].proto
    monkeypatch.setattr(viewer, "encode_film", None)
    monkeypatch.setattr(viewer, "encode_map", None)
    app.run()
    after = app.get("bidi_component")[0].proto
    assert not app.exception
    assert (after.id, after.json) == (before.id, before.json)
    assert len(after.json) < 3000


def test_another_opacity_changes_the_look_and_nothing_else(app):
    app.radio(key="what").set_value("map").run()
    before = app.get("bidi_component")[0].proto
    app.slider(key="opacity").set_value(0.7).run()
    after = app.get("bidi_component")[0].proto
    told, told_before = json.loads(after.json), json.loads(before.json)
    assert after.id == before.id
    assert told.pop("look")["opacity"] == 0.7 and told_before.pop("look")["opacity"] == 0.4
    assert told == told_before


def test_a_picture_is_made_once_for_each_film_and_goes_with_it():
    class Thing:
        pass

    made: list[int] = []
    values = np.zeros((2, 2), np.float32)

    def encode(pixels):
        made.append(1)
        return viewer.encode_film(pixels)

    gc.collect()  # films of earlier tests go now and not while this one counts
    thing, held = Thing(), len(viewer._encoded)
    assert viewer._made_once(thing, encode, values) is viewer._made_once(thing, encode, values)
    assert (len(made), len(viewer._encoded)) == (1, held + 1)
    del thing
    gc.collect()
    assert len(viewer._encoded) == held


def test_the_viewer_names_nothing_outside_this_machine():
    outside = re.compile(r"https?:|@import|url\(|@font-face|importScripts|eval\(")
    assets = [file for file in Path(viewer.__file__).parent.iterdir() if file.suffix in (".js", ".css", ".html")]
    assert len(assets) == 5
    assert not [file.name for file in assets if outside.search(file.read_text(encoding="utf-8"))]


def test_the_payload_holds_the_film_itself():
    pixels = (np.arange(4096, dtype=np.float32) / 4095).reshape(64, 64)
    np.testing.assert_array_equal(decode(viewer.encode_film(pixels).payload), np.rint(pixels * np.float32(65535)))


def test_no_script_of_the_viewer_is_left_out_of_the_page():
    assert {path.name for path in Path(viewer.__file__).parent.glob("*.js")} == set(viewer.SCRIPTS)
