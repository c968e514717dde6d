"""What a refusal may say: one readable line, without a place of this machine and without a word of a patient."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

LONGEST = 700
"""Characters; two sentences with a name and an advice have about 300."""
SECRETS = ("zanzib", "quintil", "77031", "19470923", "1947-09-23", "wolkenk", "rosenweg", "nachtigall")
"""In lower case. The beginning is enough: some texts are cut."""
PATIENT = {
    "PatientName": "Zanzibara^Quintiliane",
    "PatientID": "PATNR-77031",
    "PatientBirthDate": "19470923",
    "InstitutionName": "Wolkenklinik",
    "InstitutionAddress": "Rosenweg 12a",
    "ReferringPhysicianName": "Nachtigall^Otto",
    "StudyDescription": "Zanzibara, Quintiliane",
}
"""Tags of a film in which those words stand."""
OWN_PLACES = (str(Path(__file__).resolve().parents[2]), str(Path.home()), "site-packages")


def faults_of(text: str, places: Iterable[str] = (), secrets: Iterable[str] = SECRETS) -> list[str]:
    """What is wrong with a sentence for the user; empty where nothing is."""
    lower = text.lower()
    found = []
    if not text.strip() or len(text) > LONGEST:
        found.append(f"has {len(text)} characters")
    strange = [sign for sign in text if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    if strange:
        found.append(f"is no line of readable text ({strange[0]!r})")
    found += [f"names the place {place}" for place in (*OWN_PLACES, *places) if place and place in text]
    found += [f"says {secret!r} of the patient" for secret in secrets if secret in lower]
    if "Traceback" in text or "<built-in" in text:
        found.append("shows program text")
    return found
