"""Ids that stand for patients, exams and films without naming them.

An id is a keyed hash (HMAC-SHA256): without the key nobody can try out names or hospital numbers until one fits. The key stays
in the data set's folder and is never exported; deleting it makes the ids final.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

KEY_BYTES = 32
PUBLIC_KEY = hashlib.sha256(b"MammoTrace synthetic films: this key protects nothing").digest()
"""For films made by code only: nobody is behind them, and their ids should be the same on every machine."""


@dataclass(frozen=True)
class Pseudonyms:
    """Turns the source's ids into pseudonyms; the same id and key always give the same pseudonym."""

    key: bytes = field(repr=False)

    def patient(self, raw: str) -> str:
        """``P`` and ten hexadecimal digits: two of 50,000 patients meet by chance once in about a thousand data sets."""
        return "P" + self._digest("patient", raw, 10)

    def exam(self, patient: str, raw: str) -> str:
        """``E`` and ten digits. The patient is hashed in, since many tables number the exams of each patient from 1."""
        return "E" + self._digest("exam", f"{patient}\0{raw}", 10)

    def image(self, path: str) -> str:
        """``I`` and twelve digits, from the path relative to the data root."""
        return "I" + self._digest("image", path, 12)

    def _digest(self, kind: str, raw: str, digits: int) -> str:
        message = f"{kind}\0{raw}".encode("utf-8", "surrogateescape")
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:digits]


def new_key(synthetic: bool) -> bytes:
    """A fresh random key, or the public one for films made by code."""
    return PUBLIC_KEY if synthetic else secrets.token_bytes(KEY_BYTES)


def write_key(path: Path, key: bytes) -> None:
    """Write the key as hexadecimal text that only the owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())  # without it no pseudonym of the data set could be made again


def read_key(path: Path) -> bytes:
    """The key as :func:`write_key` wrote it."""
    return bytes.fromhex(path.read_text().strip())
