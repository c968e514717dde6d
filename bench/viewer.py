"""How quickly a film of 4700 x 2600 pixels opens and zooms in the viewer, against ``st.image`` of the same film in the same run.

    python -m bench.viewer [--rounds 5]

Goals: from the click to the drawn film at most 2 s, and at least 30 frames a second while the wheel turns, without a GPU.
``st.image`` cannot zoom; its frame time is that of a browser which scales the picture, as page zoom would.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.make_films import drawn_film

ROOT = Path(__file__).resolve().parent.parent
SHAPE = (4700, 2600)
OPEN_GOAL = 2.0
FRAME_GOAL = 2 / 60 + 0.0005
"""Two refreshes of a screen at 60 a second, and what the browser's clock rounds."""
FRAMES = 120
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]

APP = """
import sys
sys.path[:0] = [{root!r}]
import io
import numpy as np
import streamlit as st
from PIL import Image
from mammo_core.data.film import Film, FilmFacts
from pages.shared.viewer import Look, film_viewer

st.set_page_config(layout="wide")

@st.cache_resource
def stored():
    return np.load({film!r})

stored()
round_ = st.query_params.get("round", "0")
what = st.radio("Show", ["nothing", "viewer", "map", "image"], horizontal=True)
if what != "nothing":
    # A film that this round alone has, so that neither way finds anything kept.
    pixels = stored().copy()
    pixels[0, int(round_)] = 0.5
    height, width = pixels.shape
    facts = FilmFacts(kind="DICOM", height=height, width=width, bits=12, window="-", inverted=False, decoder="-")
    if what == "viewer":
        film_viewer(Film(pixels, facts), "viewer")
    elif what == "map":
        film_viewer(Film(pixels, facts), "viewer", pixels[::-1].copy(), Look(mode="swipe"))
    else:
        buffer = io.BytesIO()
        Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(buffer, format="PNG")
        st.image(buffer.getvalue(), width=pixels.shape[1], output_format="PNG")
"""

DRAWN = {
    "viewer": "!!document.querySelector('[data-testid=stBidiComponentIsolated]')"
    "?.shadowRoot?.querySelector('.viewer[data-state=drawn]')",
    "image": "(() => { const image = document.querySelector('[data-testid=stImage] img');"
    " return !!image && image.complete && image.naturalWidth > 0; })()",
}
DRAWN["map"] = DRAWN["viewer"]

CLICK_TO_DRAWN = """async ([label, drawn]) => {
    const isDrawn = new Function("return " + drawn);
    const option = [...document.querySelectorAll("[data-testid=stRadio] label")].find((one) => one.textContent.trim() === label);
    const frame = () => new Promise(requestAnimationFrame);
    await frame();
    const start = performance.now();
    option.click();
    while (!isDrawn()) await frame();
    const image = document.querySelector("[data-testid=stImage] img");
    if (image) await image.decode();
    await frame();
    await frame();
    return (performance.now() - start) / 1000;
}"""

FRAMES_OF_VIEWER = """async (count) => {
    const canvas = document.querySelector("[data-testid=stBidiComponentIsolated]").shadowRoot.querySelector("canvas");
    const box = canvas.getBoundingClientRect();
    const at = { clientX: box.left + box.width * 0.45, clientY: box.top + box.height * 0.5, bubbles: true, cancelable: true };
    const times = [];
    for (let i = 0; i <= count; i++) {
        times.push(await new Promise(requestAnimationFrame));
        canvas.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: i < count / 2 ? -40 : 40 }));
    }
    return times.slice(1).map((time, i) => (time - times[i]) / 1000);
}"""

FRAMES_OF_IMAGE = """async (count) => {
    const image = document.querySelector("[data-testid=stImage] img");
    const times = [];
    for (let i = 0, width = 340; i <= count; i++) {
        times.push(await new Promise(requestAnimationFrame));
        width *= Math.exp(i < count / 2 ? 0.08 : -0.08);
        Object.assign(image.style, { width: `${width}px`, maxWidth: "none", height: "auto" });
    }
    return times.slice(1).map((time, i) => (time - times[i]) / 1000);
}"""


def make_film(path: Path) -> None:
    """A 12-bit film with structure and noise, as hard to pack as a real one."""
    drawn = np.asarray(Image.fromarray(drawn_film((SHAPE[0] // 4, SHAPE[1] // 4))).resize(SHAPE[::-1], Image.Resampling.BILINEAR))
    noise = np.random.default_rng(1).normal(0, 0.01, SHAPE).astype(np.float32) * (drawn > 0.1)
    np.save(path, (np.rint(np.clip(drawn + noise, 0, 1) * 4095) / np.float32(4095)).astype(np.float32))


@contextmanager
def running_app(folder: Path) -> Iterator[str]:
    script = folder / "app.py"
    script.write_text(APP.format(root=str(ROOT), film=str(folder / "film.npy")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://localhost:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def measure(page: Page, url: str, what: str, number: int) -> tuple[float, list[float]]:
    """Seconds from the click to the drawn film, and between the frames of a zoom."""
    page.goto(f"{url}/?round={number}")
    page.get_by_text("nothing").wait_for()
    page.wait_for_timeout(1000)
    opened = page.evaluate(CLICK_TO_DRAWN, [what, DRAWN[what]])
    page.wait_for_timeout(500)
    return opened, page.evaluate(FRAMES_OF_IMAGE if what == "image" else FRAMES_OF_VIEWER, FRAMES)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        make_film(folder / "film.npy")
        with running_app(folder) as url:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            opened: dict[str, list[float]] = {"viewer": [], "map": [], "image": []}
            frames: dict[str, list[float]] = {"viewer": [], "map": [], "image": []}
            for number in range(rounds):
                for what in opened:  # alternating, so that a busy moment meets all of them
                    page = browser.new_page(viewport={"width": 1280, "height": 900})
                    seconds, between = measure(page, url, what, 3 * number)
                    opened[what].append(seconds)
                    frames[what] += between
                    page.close()
            browser.close()
    report(opened, frames)
    return 0


def say(what: str, ours: float, goal: float, plain: float, how: str) -> None:
    verdict = "reached" if ours <= goal else "MISSED"
    beside = f"plain {plain:7.3f} s   ratio {plain / ours:5.1f}   ({how})"
    print(f"{what:52s} {ours:7.3f} s   goal {goal:.3f} s {verdict}   {beside}", flush=True)


def report(opened: dict[str, list[float]], frames: dict[str, list[float]]) -> None:
    plain = statistics.median(opened["image"])
    say("film opened, click to drawn (median)", statistics.median(opened["viewer"]), OPEN_GOAL, plain, "st.image of 8-bit PNG")
    say("film with map opened in swipe (median)", statistics.median(opened["map"]), OPEN_GOAL, plain, "the same, without a map")
    say("film opened (slowest)", max(opened["viewer"] + opened["map"]), OPEN_GOAL, max(opened["image"]), "slowest")
    plain, plain_slow = statistics.median(frames["image"]), float(np.quantile(frames["image"], 0.95))
    for what, words in {"viewer": "film", "map": "film with map"}.items():
        middle, slow = statistics.median(frames[what]), float(np.quantile(frames[what], 0.95))
        say(f"zoom, {words}: a frame (median, {1 / middle:.0f} a second)", middle, FRAME_GOAL, plain, "scaled <img>")
        say(f"zoom, {words}: a frame (95th percentile)", slow, FRAME_GOAL, plain_slow, "the same")


if __name__ == "__main__":
    raise SystemExit(main())
