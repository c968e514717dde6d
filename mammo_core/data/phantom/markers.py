"""View markers ("L-CC", "R-MLO") and the word SYNTHETIC in a built-in bitmap font, so that no font file decides a pixel."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mammo_core.data.phantom.texture import Field

MarkerStyle = Literal["framed", "plain", "plate"]

_GLYPHS = {
    "-": "..... ..... ..... ##### ..... ..... .....",
    "C": ".###. #...# #.... #.... #.... #...# .###.",
    "E": "##### #.... #.... ####. #.... #.... #####",
    "H": "#...# #...# #...# ##### #...# #...# #...#",
    "I": ".###. ..#.. ..#.. ..#.. ..#.. ..#.. .###.",
    "L": "#.... #.... #.... #.... #.... #.... #####",
    "M": "#...# ##.## #.#.# #.#.# #...# #...# #...#",
    "N": "#...# ##..# #.#.# #..## #...# #...# #...#",
    "O": ".###. #...# #...# #...# #...# #...# .###.",
    "R": "####. #...# #...# ####. #.#.. #..#. #...#",
    "S": ".#### #.... #.... .###. ....# ....# ####.",
    "T": "##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..",
    "Y": "#...# #...# .#.#. ..#.. ..#.. ..#.. ..#..",
}


def text_bitmap(text: str, scale: int = 1) -> Field:
    """``text`` as 0 and 1, (7 * scale, (6 * len(text) - 1) * scale). Letters of CEHILMNORSTY and the dash only."""
    columns: list[Field] = []
    for letter in text:
        rows = [[float(cell == "#") for cell in row] for row in _GLYPHS[letter].split()]
        columns += [np.array(rows, dtype=np.float32), np.zeros((7, 1), dtype=np.float32)]
    return np.asarray(np.kron(np.hstack(columns[:-1]), np.ones((scale, scale))), dtype=np.float32)


def draw_markers(film: Field, text: str, style: MarkerStyle, chest_wall_left: bool) -> None:
    """Write the view marker near the upper corner away from the chest wall, and SYNTHETIC in the lower one.

    ``film`` is (H, W), grey levels in [0, 1], already mirrored for its side; it is changed in place.
    """
    scale = max(1, round(film.shape[0] / 320))
    label = _styled(text_bitmap(text, scale), style, 2 * scale)
    margin = max(2, film.shape[0] // 40)
    _place(film, label, top=margin, margin=margin, at_right=chest_wall_left)
    note = 0.6 * text_bitmap("SYNTHETIC", max(1, round(film.shape[0] / 640)))
    _place(film, note, top=film.shape[0] - margin - note.shape[0], margin=margin, at_right=chest_wall_left)


def _styled(letters: Field, style: MarkerStyle, pad: int) -> Field:
    if style == "plain":
        return 0.75 * letters
    padded = np.pad(letters, pad)
    if style == "plate":
        return np.where(padded > 0, np.float32(0.05), np.float32(0.9))
    padded[:1], padded[-1:], padded[:, :1], padded[:, -1:] = 1, 1, 1, 1
    return padded


def _place(film: Field, stamp: Field, top: int, margin: int, at_right: bool) -> None:
    """Put ``stamp`` on ``film``; what would leave the film is cut off."""
    left = max(0, film.shape[1] - margin - stamp.shape[1]) if at_right else margin
    target = film[top : top + stamp.shape[0], left : left + stamp.shape[1]]
    np.maximum(target, stamp[: target.shape[0], : target.shape[1]], out=target)
