"""One picture as a PDF page of its own size in print, every pixel kept."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

PRINT_PPI = 300
POINTS = 72
"""An inch."""


def picture_pdf(pixels: npt.NDArray[np.uint8], title: str, note: str = "") -> bytes:
    """A PDF whose only page is the picture at 300 pixels an inch; the same picture gives the same bytes.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (H, W, 3)
        Kept without loss: edges of maps and letters are not blurred.
    title, note : str
        Kept inside the file, where a reader program shows them.
    """
    height, width = pixels.shape[:2]
    size = width * POINTS / PRINT_PPI, height * POINTS / PRINT_PPI
    buffer = io.BytesIO()
    page = Canvas(buffer, pagesize=size, invariant=1, pageCompression=1)
    page.setTitle(title)
    page.setSubject(note)
    page.setCreator("MammoTrace")
    page.drawImage(ImageReader(Image.fromarray(pixels)), 0, 0, *size)
    page.showPage()
    page.save()
    return buffer.getvalue()
