"""The viewer in a real browser: what is drawn is the film, at any zoom; mouse and keys do what they say; nothing leaves."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlparse

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Locator, Page, expect
from scipy import ndimage

from mammo_core.explain.rendering import OverlayStyle, coloured, overlay
from mammo_core.settings import PROJECT_ROOT

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHAPE = (1501, 1003)
"""Odd, so that reduced copies have halved edges; larger than a pane in both directions."""

VIEWERS = {"map": 0, "pair": 1, "film": 2}
"""Their order on the page."""

APP = """
import sys
sys.path[:0] = [{root!r}]
import numpy as np
import streamlit as st
from mammo_core.data.film import Film, FilmFacts
from pages.shared.viewer import Look, Side, film_viewer, pair_viewer

st.set_page_config(layout="wide")

@st.cache_resource
def films():
    def film(name):
        pixels = np.load(name)
        height, width = pixels.shape
        return Film(pixels, FilmFacts(kind="PNG", height=height, width=width, bits=12, window="-", inverted=False, decoder="-"))
    return film({deep!r}), film({other!r}), np.load({map!r})

deep, other, map_ = films()
if st.button("Run anew"):
    st.caption("was run anew")
film_viewer(deep, "viewer", map_, Look(opacity=0.5), height=420)
pair_viewer(Side(deep, "Left"), Side(other, "Right"), "pair", height=420)
film_viewer(other, "film", height=420)
"""


@dataclass
class Visit:
    """A page that is open, what went wrong on it, and all that it asked for."""

    page: Page
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> list[str]:
        return [address for address in self.requests if "/media/" in address and "/static/" not in address]


def _film(shape: tuple[int, int], top: int, seed: int) -> npt.NDArray[np.float32]:
    stored = np.random.default_rng(seed).integers(0, top + 1, shape)
    return (stored / np.float32(top)).astype(np.float32)


@pytest.fixture(scope="module")
def films() -> dict[str, npt.NDArray[np.float32]]:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    map_ = np.exp(-(((rows - 700) / 200) ** 2) - ((columns - 520) / 150) ** 2).astype(np.float32)
    map_[map_ < 0.02] = 0
    return {"deep": _film(SHAPE, 4095, 1), "other": _film((SHAPE[0] - 200, SHAPE[1] + 100), 255, 2), "map": map_}


@pytest.fixture(scope="module")
def url(films, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("viewer")
    names = {}
    for name, values in films.items():
        names[name] = str(folder / f"{name}.npy")
        np.save(names[name], values)
    script = folder / "app.py"
    script.write_text(APP.format(root=str(PROJECT_ROOT), **names))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    with (folder / "app.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=dict(os.environ), stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://localhost:{port}/_stcore/health", process)
            yield f"http://localhost:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the app ended while it started"
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the app did not answer within 60 s")


@pytest.fixture(scope="module")
def visit(browser, url: str) -> Iterator[Visit]:
    """One visit for all tests: to open the page takes longer than any of them."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    page = context.new_page()
    found = Visit(page)
    page.on("console", lambda message: found.faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.faults.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(url)
    for place in VIEWERS.values():
        page.locator('.viewer[data-state="drawn"]').nth(place).wait_for()
    yield found
    context.close()


@pytest.fixture
def page(visit: Visit) -> Iterator[Page]:
    yield visit.page
    assert not visit.faults
    assert not [address for address in visit.requests if not _is_local(address)]


@pytest.fixture
def viewer(page: Page) -> Locator:
    """The film with its map, as it opened."""
    return _as_opened(page, "map")


def _as_opened(page: Page, name: str) -> Locator:
    viewer = page.locator(".viewer").nth(VIEWERS[name])
    _canvas(viewer).scroll_into_view_if_needed()
    for button in ("fit", "reset"):
        viewer.locator(f'[data-do="{button}"]').click()
    if name == "map":
        viewer.locator('[data-mode="one"]').click()
        _set(viewer, "opacity", 50)
    return viewer


def _is_local(address: str) -> bool:
    parts = urlparse(address)
    return parts.scheme in ("blob", "data") or parts.hostname in ("localhost", "127.0.0.1")


def _canvas(viewer: Locator, pane: int = 0) -> Locator:
    return viewer.locator("canvas").nth(pane)


def _settled(viewer: Locator) -> None:
    """Two frames on, whatever was asked for has been drawn."""
    viewer.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def _screen(viewer: Locator, pane: int = 0) -> npt.NDArray[np.uint8]:
    """``(H, W, 3)`` as drawn."""
    _settled(viewer)
    width, height, data = _canvas(viewer, pane).evaluate(
        """(canvas) => {
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let text = "";
            for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
            return [canvas.width, canvas.height, btoa(text)];
        }"""
    )
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[:, :, :3]


def _grey(film: npt.NDArray[np.float32], top: int = 65535) -> npt.NDArray[np.uint8]:
    return np.rint(np.rint(film * np.float32(top)) * 255 / top).astype(np.uint8)


def _middle_at_1_to_1(picture: npt.NDArray, screen: tuple[int, int]) -> npt.NDArray:
    """The part of ``picture`` that a pane of this size shows when it is centred on it."""
    places = [
        np.minimum(side - 1, np.floor(side / 2 - count / 2 + np.arange(count) + 0.5).astype(int))
        for side, count in zip(picture.shape[:2], screen, strict=True)
    ]
    assert all(place.min() >= 0 for place in places), "the film must be larger than the pane"
    return picture[np.ix_(*places)]


def _zoom(viewer: Locator) -> float:
    _settled(viewer)
    return float(viewer.get_attribute("data-zoom"))


def _set(viewer: Locator, name: str, value: float) -> None:
    viewer.locator(f'input[name="{name}"]').evaluate(
        "(field, value) => { field.value = value; field.dispatchEvent(new Event('input', { bubbles: true })); }", value
    )


def test_at_1_to_1_the_screen_holds_the_pixels_of_the_film_and_keys_and_fields_work(page, films, viewer):
    canvas = _canvas(viewer)
    shown = viewer.locator(".shown")
    expect(shown).to_contain_text("reduced")
    fit = _zoom(viewer)

    canvas.focus()
    page.keyboard.press("1")
    assert _zoom(viewer) == 1
    expect(shown).to_have_text("Shown at 100 %: 1 film pixel = 1 screen pixel")
    _set(viewer, "opacity", 0)
    plain = _screen(viewer)
    # The pane is wider than the film, so only its height is cut.
    left = (plain.shape[1] - SHAPE[1]) // 2
    film = _rows_of(_grey(films["deep"]), plain.shape[0])
    _assert_holds(plain, film, left)

    _set(viewer, "opacity", 50)
    expected = _rows_of(overlay(films["deep"], films["map"], OverlayStyle(alpha=0.5)), plain.shape[0])
    mapped = _inside(_screen(viewer), left, SHAPE[1])
    assert np.abs(mapped.astype(int) - expected).max() <= 8  # the map has 512 cells a side here and 1501 there
    assert np.abs(mapped.astype(int) - expected).mean() < 0.3
    _set(viewer, "opacity", 0)

    page.keyboard.press("i")
    _assert_holds(_screen(viewer), 255 - film, left)
    expect(viewer.locator('[data-do="invert"]')).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("r")
    _assert_holds(_screen(viewer), film, left)

    # A window of 2 % at half grey spreads 82 of 4096 values over the whole range; of 256 values it would show five.
    _set(viewer, "window", 2)
    narrow = _inside(_screen(viewer), left, SHAPE[1])
    values = np.rint(_rows_of(films["deep"], plain.shape[0]) * np.float32(65535)) / 65535
    np.testing.assert_array_equal(narrow[:, :, 0], np.clip(np.floor(255 * (values - 0.49) / 0.02 + 0.5), 0, 255).astype(np.uint8))
    assert len(np.unique(narrow)) > 75
    page.keyboard.press("r")

    page.keyboard.press("+")
    assert _zoom(viewer) == pytest.approx(1.25)
    page.keyboard.press("f")
    assert _zoom(viewer) == fit
    page.keyboard.press("w")
    expect(viewer.locator('input[name="window"]')).to_have_value("102")
    page.keyboard.press("Shift+L")
    expect(viewer.locator('input[name="level"]')).to_have_value("48")
    page.keyboard.press("s")
    expect(viewer.locator('[data-mode="swipe"]')).to_have_attribute("aria-pressed", "true")


def _rows_of(picture: npt.NDArray, height: int) -> npt.NDArray:
    rows = np.floor(picture.shape[0] / 2 - height / 2 + np.arange(height) + 0.5).astype(int)
    return picture[rows]


def _inside(screen: npt.NDArray[np.uint8], left: int, width: int) -> npt.NDArray[np.uint8]:
    """The columns of the screen that hold the film, wherever its rounding puts the first."""
    first = left + int(screen[0, left, 0] == 0x22 and screen[0, left, 2] == 0x2A)
    return screen[:, first : first + width]


def _assert_holds(screen: npt.NDArray[np.uint8], film: npt.NDArray[np.uint8], left: int) -> None:
    inside = _inside(screen, left, film.shape[1])
    for channel in range(3):
        np.testing.assert_array_equal(inside[:, :, channel], film)


def test_the_wheel_zooms_at_the_pointer_and_a_drag_moves_by_as_many_pixels(page, films, viewer):
    canvas = _canvas(viewer)
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2 + 90, box["y"] + box["height"] * 0.4
    where = viewer.locator(".where")

    def pointed_at() -> tuple[int, int]:
        words = where.inner_text().replace(",", "").replace(":", "").split()
        return int(words[1]), int(words[3])

    page.mouse.move(x, y)
    seen = [pointed_at()]
    pixels_per_step = [1 / _zoom(viewer)]
    for _ in range(8):
        page.mouse.wheel(0, -240)
        _settled(viewer)
        seen.append(pointed_at())
        pixels_per_step.append(1 / _zoom(viewer))
    assert _zoom(viewer) > 10
    for place in seen[1:]:
        assert np.abs(np.subtract(place, seen[0])).max() <= max(1, pixels_per_step[0])
    # At such a zoom a film pixel is a block: what the pointer is told of is what is drawn under it.
    _set(viewer, "opacity", 0)
    row, column = seen[-1]
    drawn = _screen(viewer)[int(y - box["y"]), int(x - box["x"])]
    assert (drawn == _grey(films["deep"])[row - 1, column - 1]).all()

    page.mouse.wheel(0, 240 * 4)
    _settled(viewer)
    before, zoom = pointed_at(), _zoom(viewer)
    page.mouse.down()
    page.mouse.move(x + 60, y + 30)
    page.mouse.up()
    assert np.abs(np.subtract(pointed_at(), before)).max() <= 1 / zoom + 1
    page.mouse.dblclick(x, y)
    expect(viewer.locator(".shown")).to_contain_text("reduced")


def test_a_rerun_keeps_the_zoom_and_sends_no_film_again(visit, page, viewer):
    assert len(visit.pictures) == 3  # two films in three viewers, and a map
    canvas = _canvas(viewer)
    canvas.focus()
    for key in ("1", "+", "ArrowLeft", "i"):
        page.keyboard.press(key)
    before, zoom = _screen(viewer), _zoom(viewer)
    page.get_by_role("button", name="Run anew").click()
    expect(page.get_by_text("was run anew")).to_be_visible()
    assert _zoom(viewer) == zoom
    np.testing.assert_array_equal(_screen(viewer), before)
    assert len(visit.pictures) == 3


def test_swipe_shows_the_plain_film_left_of_the_divider(viewer):
    mapped = _screen(viewer)
    _set(viewer, "opacity", 0)
    plain = _screen(viewer)
    _set(viewer, "opacity", 50)
    viewer.locator('[data-mode="swipe"]').click()
    _set(viewer, "divider", 50)
    swiped, cut = _screen(viewer), mapped.shape[1] // 2
    np.testing.assert_array_equal(swiped[:, :cut], plain[:, :cut])
    np.testing.assert_array_equal(swiped[:, cut:], mapped[:, cut:])
    assert not np.array_equal(mapped, plain)


def test_lines_run_where_the_map_passes_a_quarter_half_and_three_quarters(page, films, viewer):
    _canvas(viewer).focus()
    page.keyboard.press("1")
    viewer.locator('input[name="lines"]').check()
    screen = _screen(viewer).astype(int)
    left = (screen.shape[1] - SHAPE[1]) // 2
    drawn = (_inside(screen, left, SHAPE[1]) == (0, 230, 255)).all(axis=2)
    map_ = _rows_of(films["map"], screen.shape[0])
    viewer.locator('input[name="lines"]').uncheck()
    bands = np.digitize(map_, (0.25, 0.5, 0.75))
    assert len(np.unique(bands)) == 4
    passages = np.zeros_like(drawn)
    passages[:, 1:] |= bands[:, 1:] != bands[:, :-1]
    passages[1:] |= bands[1:] != bands[:-1]
    # The map in the browser has a third of these cells a side, so a line may lie a few pixels off, but none is missing.
    assert passages[~ndimage.binary_dilation(drawn, iterations=4)].sum() == 0
    assert drawn[~ndimage.binary_dilation(passages, iterations=4)].sum() == 0


def test_contours_and_opacity_are_remembered_for_films_that_are_opened_later(page, viewer):
    canvas = _canvas(viewer)
    canvas.focus()
    page.keyboard.press("c")
    expect(viewer.locator('input[name="lines"]')).to_be_checked()
    expect(viewer.locator('input[name="opacity"]')).to_be_disabled()
    expect(viewer.locator(".scale")).to_have_text(
        "Lines at 1/4, 1/2 and 3/4 of this map's maximum (relative)", use_inner_text=True
    )
    later = page.context.new_page()
    later.goto(page.url)
    reopened = later.locator(".viewer").nth(VIEWERS["map"])
    expect(reopened.locator('input[name="lines"]')).to_be_checked()
    later.close()
    page.keyboard.press("c")
    expect(viewer.locator('input[name="lines"]')).not_to_be_checked()
    page.keyboard.press("Shift+O")
    expect(viewer.locator('input[name="opacity"]')).to_have_value("45")


def test_the_colour_scale_is_said_to_be_relative_and_shows_the_colours_of_the_map(page, viewer):
    scale = viewer.locator(".scale")
    expect(scale).to_be_visible()
    expect(scale).to_contain_text("relative to this map's maximum")
    drawn = viewer.locator(".ramp").evaluate("(ramp) => getComputedStyle(ramp).backgroundImage")
    ends = coloured(np.array([[0, 1]], np.float32))[0]
    for colour in ends:
        assert f"rgb({', '.join(str(int(part)) for part in colour)})" in drawn
    expect(_as_opened(page, "film").locator(".scale")).to_be_hidden()


def test_a_drag_with_the_right_button_changes_window_and_level_and_opens_no_menu(page, viewer):
    box = _canvas(viewer).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x - 200, y - 40)
    page.mouse.up(button="right")
    expect(viewer.locator('input[name="window"]')).to_have_value("50")
    expect(viewer.locator('input[name="level"]')).to_have_value("60")


def test_two_films_zoom_and_move_together(page, films):
    viewer = _as_opened(page, "pair")
    canvas = _canvas(viewer, 1)
    canvas.focus()
    page.keyboard.press("1")
    left, right = _screen(viewer, 0), _screen(viewer, 1)
    deep, other = _grey(films["deep"]), _grey(films["other"], 255)
    np.testing.assert_array_equal(left[:, :, 0], _middle_at_1_to_1(deep, left.shape[:2]))
    np.testing.assert_array_equal(right[:, :, 0], _middle_at_1_to_1(other, right.shape[:2]))
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 100)
    page.mouse.up()
    np.testing.assert_array_equal(_screen(viewer, 1)[:, 40:], right[:, :-40])
    assert not np.array_equal(_screen(viewer, 0), left)


def test_a_reduced_film_is_the_mean_of_its_pixels_and_says_so(page):
    viewer = _as_opened(page, "film")
    screen, zoom = _screen(viewer), _zoom(viewer)
    assert zoom < 1
    inside = screen[:, screen.shape[1] // 2 - 100 : screen.shape[1] // 2 + 100, 0].astype(float)
    # Noise evenly spread over 0 to 255 has an SD of 74; skipping pixels would keep it, taking means does not.
    assert inside.mean() == pytest.approx(127.5, abs=2)
    assert inside.std() < 74 * max(zoom, 0.4)
    expect(viewer.locator(".shown")).to_contain_text(f"Shown at {round(100 * zoom)} %")


def test_every_tool_is_reached_by_tab_and_shows_its_focus(page, viewer):
    viewer.locator('[data-do="fit"]').focus()
    names = []
    for _ in range(16):
        names.append(
            page.evaluate(
                """() => {
                    let element = document.activeElement;
                    while (element.shadowRoot) element = element.shadowRoot.activeElement;
                    const pane = element.closest(".pane");
                    const style = pane ? getComputedStyle(pane, "::after") : getComputedStyle(element);
                    const ring = parseFloat(pane ? style.borderTopWidth : style.outlineWidth);
                    return [element.dataset.do || element.dataset.mode || element.name || element.tagName, ring];
                }"""
            )
        )
        page.keyboard.press("Tab")
    reached = [name for name, _ in names]
    wanted = [
        "fit",
        "whole",
        "out",
        "in",
        "one",
        "swipe",
        "pair",
        "opacity",
        "lines",
        "window",
        "level",
        "invert",
        "reset",
        "CANVAS",
    ]
    assert reached[: len(wanted)] == wanted
    assert all(ring >= 2 for _, ring in names[: len(wanted)])


def test_a_picture_that_does_not_arrive_is_told_in_words(browser, url):
    context = browser.new_context()
    page = context.new_page()
    page.route("**/media/*.bin", lambda route: route.fulfill(status=404, body="gone"))
    page.goto(url)
    expect(page.locator(".viewer .message").first).to_have_text(
        "The film could not be shown: the app answered with status 404. Reload the page.", timeout=30_000
    )
    context.close()
