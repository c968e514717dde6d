"""Synthetic mammogram-like films with known density, lesions and centres. No patient is shown in any of them."""

from mammo_core.data.phantom.patient import SHARES, PhantomFilm, make_patient
from mammo_core.data.phantom.writer import FilmFormat, write_phantoms

__all__ = ["SHARES", "FilmFormat", "PhantomFilm", "make_patient", "write_phantoms"]
