"""A picture as a PDF page: its size, its pixels, its words."""

import re
import zlib
from base64 import a85decode

import numpy as np
import pytest

from mammo_core.report.picture_pdf import picture_pdf

PIXELS = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)


def test_the_page_is_the_picture_at_300_pixels_an_inch():
    box = re.search(rb"/MediaBox \[ ([\d. ]+) \]", picture_pdf(PIXELS, "Sheet"))
    assert box is not None
    assert [float(side) for side in box[1].split()] == pytest.approx([0, 0, 90 / 300 * 72, 60 / 300 * 72])


def test_every_pixel_is_kept():
    pdf = picture_pdf(PIXELS, "Sheet")
    assert b"DCTDecode" not in pdf  # a JPEG would blur the edges of maps
    streams = re.findall(rb"(?<!end)stream\r?\n([^~]*)~>endstream", pdf, re.DOTALL)
    assert PIXELS.tobytes() in [zlib.decompress(a85decode(stream)) for stream in streams]


def test_the_same_picture_gives_the_same_bytes_with_its_words_inside():
    assert picture_pdf(PIXELS, "Sheet", "Note") == picture_pdf(PIXELS, "Sheet", "Note")
    assert b"(Sheet)" in picture_pdf(PIXELS, "Sheet", "Note")
