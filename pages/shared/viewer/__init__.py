"""Films at full resolution in the browser: zoom, window and level, inversion, a map over the film, two films side by side.

A component of our own in plain JavaScript (``viewer.js`` and its neighbours): it asks nothing of any other machine. The film
goes over once, as a file of the app's media store named by its content, and not with every rerun of the page; all that the
reader sets stays in the browser.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import streamlit as st
from streamlit import runtime

from mammo_core.data.film import Film
from mammo_core.explain.viewer_image import ViewerImage, encode_film, encode_map

HEIGHT = 620
"""Of the picture, CSS pixels."""
SCRIPTS = ("film_pixels.js", "viewer_events.js", "viewer.js")
"""In this order they are one module."""

Mode = Literal["one", "swipe", "pair"]
Pixels = npt.NDArray[np.float32]


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


_component = st.components.v2.component(
    "mammotrace_film_viewer", html=_asset("viewer.html"), css=_asset("viewer.css"), js="\n".join(map(_asset, SCRIPTS))
)


@dataclass(frozen=True, eq=False)
class Side:
    """What one half of the viewer shows."""

    film: Film
    label: str
    """Named on the picture; never a patient or a file name."""
    map: Pixels | None = None
    """(H, W) float32 in [0, 1] on the film, drawn over it."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a viewer opens. What the reader changes in the browser stays until the page asks for something else.

    Opacity and contours are kept in the browser's storage, so that the next film opens with them.
    """

    mode: Mode = "one"
    """``one`` picture, ``swipe`` between two, or a ``pair`` side by side. With one side it is always ``one``."""
    opacity: float = 0.4
    """Of the map, in [0, 1]."""
    lines: bool = False
    """Lines at a quarter, half and three quarters of the map's maximum instead of colours."""


def film_viewer(film: Film, key: str, map_: Pixels | None = None, look: Look | None = None, height: int = HEIGHT) -> None:
    """A film; with a map also the plain film to swipe to or to see beside it.

    Parameters
    ----------
    key : names this viewer on its page; the zoom is kept under it
    map_ : (H, W) float32 in [0, 1] on the film
    """
    plain = Side(film, "Film")
    if map_ is None:
        _show((plain,), key, look or Look(), height)
    else:
        _show((plain, Side(film, "Film with map", map_)), key, look or Look(), height, one=1)


def pair_viewer(left: Side, right: Side, key: str, look: Look | None = None, height: int = HEIGHT) -> None:
    """Two films that zoom and move together, by the same zoom and the same share of their sides."""
    _show((left, right), key, look or Look(mode="pair"), height)


def _show(sides: tuple[Side, ...], key: str, look: Look, height: int, one: int = 0) -> None:
    described: list[dict[str, Any]] = []
    for number, side in enumerate(sides):
        film = _served(_made_once(side.film, encode_film, side.film.pixels), f"{key}.film.{number}")
        map_ = None if side.map is None else _served(_made_once(side.map, encode_map, side.map), f"{key}.map.{number}")
        described.append({"label": side.label, "film": film, "map": map_})
    shown = {"mode": look.mode, "opacity": look.opacity, "lines": look.lines}
    data = {"key": key, "sides": described, "one": one, "look": shown, "height": height, "palette": None}
    if any(side.map is not None for side in sides):
        data["palette"] = _palette()
    _component(key=key, data=data)


def _served(image: ViewerImage, place: str) -> dict[str, str]:
    """Where the browser finds the picture. As with ``st.image``, it is there as long as a page of the session shows it."""
    url = runtime.get_instance().media_file_mgr.add(image.payload, "application/octet-stream", f"mammotrace.{place}")
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return {"url": f"/{base}{url}" if base else url, "sha256": image.sha256}


def _palette() -> str:
    """The 256 colours of the map, six hexadecimal digits each: those of the saved pictures."""
    from mammo_core.explain.rendering import OverlayStyle, coloured

    ramp = (np.arange(256, dtype=np.float32) / np.float32(255))[None]
    return coloured(ramp, OverlayStyle().colour_map).tobytes().hex()


_encoded: dict[int, ViewerImage] = {}
_lock = threading.Lock()


def _made_once(owner: object, encode: Callable[[Pixels], ViewerImage], values: Pixels) -> ViewerImage:
    """The picture of ``values``, made once for their owner and forgotten with it.

    By identity: films and maps live in the pages' caches as long as they are in use, and are never changed in place.
    """
    with _lock:
        if id(owner) not in _encoded:
            _encoded[id(owner)] = encode(values)
            weakref.finalize(owner, _encoded.pop, id(owner), None)
        return _encoded[id(owner)]
