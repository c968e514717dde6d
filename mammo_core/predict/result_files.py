"""One prediction as a file to keep: JSON, a picture, or one page of PDF.

None of them names a patient or a file; the film goes by the first digits of its content hash. Each says that it is for
research only.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib
from PIL import Image
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Frame, KeepInFrame, Paragraph, Spacer, Table, TableStyle
from reportlab.platypus import Image as Picture

from mammo_core.analysis.backing import DEFAULT_RULE, judge, score_text, threshold_facts
from mammo_core.data.film import Film
from mammo_core.explain.rendering import OverlayStyle, Panel, png_bytes, side_by_side
from mammo_core.predict.explaining import Explanation
from mammo_core.predict.predictor import Prediction
from mammo_core.settings import RESEARCH_ONLY

SCORE_NOTE = "Scores are softmax outputs, not the probability of a disease."
SCALED_NOTE = "Scores are temperature-scaled softmax outputs, not the probability of a disease."
PICTURE_HEIGHT = 1100
"""Pixels of the films in PNG and PDF; about 200 ppi on the page."""
MARGIN = 16 * mm
FONT, BOLD = "DejaVuSans", "DejaVuSans-Bold"
BAR_COLOUR = HexColor("#0072B2")
GREY = HexColor("#555555")


def score_note(prediction: Prediction) -> str:
    """What the scores are, in one sentence."""
    return SCORE_NOTE if prediction.backing.scaling is None else SCALED_NOTE


def backing_words(prediction: Prediction, rule: str = DEFAULT_RULE) -> list[str]:
    """The score held against the threshold of a rule, and whether the scores are scaled; whole sentences."""
    judged = judge(prediction.backing, "film", rule, prediction.raw_probabilities)
    return [judged if isinstance(judged, str) else judged.words, prediction.backing.scaling_words]


def prediction_json(prediction: Prediction, explanation: Explanation | None = None, rule: str = DEFAULT_RULE) -> bytes:
    """UTF-8 JSON with all numbers of the prediction; ``rule`` chooses the threshold, see ``operating_points.RULES``."""
    content: dict[str, object] = {
        "disclaimer": RESEARCH_ONLY,
        "note": score_note(prediction),
        "film_id": prediction.film_id,
        "made_at": prediction.made_at,
        "task": prediction.task,
        "predicted": prediction.predicted,
        "probabilities": prediction.probabilities,
        "raw_probabilities": prediction.raw_probabilities,
        "scaling": prediction.backing.scaling.model_dump() if prediction.backing.scaling else None,
        **threshold_facts(prediction.backing, "film", rule, prediction.raw_probabilities),
        "spread": prediction.spread,
        "agreement": prediction.agreement,
        "per_run": prediction.per_run,
        "unfamiliar": prediction.unfamiliar.to_json(),
        "warnings": list(prediction.warnings),
        "steps": list(prediction.steps),
        "runs": list(prediction.runs),
        "model_id": prediction.model_id,
        "models": list(prediction.origins),
        "map": None if explanation is None else map_facts(explanation),
    }
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def map_facts(explanation: Explanation) -> dict[str, object]:
    """What a map is, as JSON-able values."""
    return {
        "class": explanation.class_name,
        "method": explanation.cams[0].method,
        "statement": explanation.statement,
        "empty": explanation.empty,
        "layers": [cam.layer for cam in explanation.cams],
        "cells": [list(cam.cells) for cam in explanation.cams],
        "cell_mm": list(explanation.cell_mm) if explanation.cell_mm else None,
        "raw_min": [cam.raw_min for cam in explanation.cams],
        "raw_max": [cam.raw_max for cam in explanation.cams],
        "outside_breast": explanation.alarms.outside_breast,
        "on_border": explanation.alarms.on_border,
        "border_area": explanation.alarms.border_area,
        "on_markers": explanation.alarms.on_markers,
        "on_pectoral": explanation.alarms.on_pectoral,
        "pectoral_area": explanation.alarms.pectoral_area,
        "alarms": list(explanation.alarms.sentences),
        "checks": list(explanation.checks),
    }


def prediction_png(
    film: Film,
    prediction: Prediction,
    explanation: Explanation,
    style: OverlayStyle | None = None,
    max_height: int | None = None,
    rule: str = DEFAULT_RULE,
) -> bytes:
    """PNG of the film beside its map, with the result below; ``max_height`` as in :func:`side_by_side`."""
    lines = [
        headline(prediction),
        f"{scores_line(prediction)}  ({score_note(prediction)})",
        *backing_words(prediction, rule)[:1],
        explanation.statement,
        *explanation.alarms.sentences,
        *explanation.checks,
        *prediction.warnings,
        f"Film {prediction.film_id}. Model {prediction.model_id} ({', '.join(prediction.runs)}). {prediction.made_at}.",
    ]
    pixels = side_by_side(Panel(film.pixels, explanation.map, lines), style, max_height)
    return png_bytes(pixels, f"{headline(prediction)} {explanation.statement}")


def headline(prediction: Prediction) -> str:
    """The result in one sentence."""
    score = prediction.probabilities[prediction.predicted]
    if prediction.spread is None:
        return f"Predicted {prediction.predicted}, score {score_text(score)}."
    before = " before scaling" if prediction.backing.scaling is not None else ""
    spread = f"SD {prediction.spread:.2f} over {len(prediction.runs)} runs{before}"
    return f"Predicted {prediction.predicted}, score {score_text(score)}, {spread}."


def scores_line(prediction: Prediction) -> str:
    return "  ".join(f"{name} {score_text(value)}" for name, value in prediction.probabilities.items())


def prediction_pdf(film: Film, prediction: Prediction, explanation: Explanation | None = None, rule: str = DEFAULT_RULE) -> bytes:
    """One A4 page: result, scores, threshold, map, warnings, what was done to the film, and which model says so."""
    _register_fonts()
    buffer = io.BytesIO()
    page = Canvas(buffer, pagesize=A4)
    page.setTitle(f"MammoTrace prediction of film {prediction.film_id}")
    page.setSubject(RESEARCH_ONLY)
    page.setAuthor("MammoTrace")
    width, height = A4
    page.setFont(BOLD, 9)
    page.setFillColor(GREY)
    for baseline in (height - 11 * mm, 9 * mm):
        page.drawCentredString(width / 2, baseline, RESEARCH_ONLY)
    frame = Frame(MARGIN, 14 * mm, width - 2 * MARGIN, height - 28 * mm, 0, 0, 0, 0)
    content = KeepInFrame(
        frame.width, frame.height, _page_content(film, (prediction, rule), explanation, frame.width), mode="shrink"
    )
    frame.addFromList([content], page)
    page.showPage()
    page.save()
    return buffer.getvalue()


def _page_content(film: Film, judged: tuple[Prediction, str], explanation: Explanation | None, width: float) -> list[Flowable]:
    prediction, rule = judged
    unfamiliar = prediction.unfamiliar
    familiar = {True: "Unlike the validation films.", False: "Like the validation films.", None: "Not judged."}[
        unfamiliar.flagged
    ]
    return [
        _text("MammoTrace prediction", 15, bold=True),
        _text(f"Film {prediction.film_id}, {prediction.made_at}", 8, grey=True),
        Spacer(0, 3 * mm),
        _text(headline(prediction), 12, bold=True),
        _text(f"{prediction.agreement} {score_note(prediction)}".strip(), 8, grey=True),
        Spacer(0, 2 * mm),
        _score_table(prediction, width),
        Spacer(0, 3 * mm),
        *_map_content(film, explanation, width),
        *_section("What backs the scores", backing_words(prediction, rule)),
        *_section("Is the film familiar?", [f"{familiar} {unfamiliar.reason}"]),
        *_section("Warnings", prediction.warnings or ["None."]),
        *_section("What was done to the film", prediction.steps),
        *_section(
            f"Which model (id {prediction.model_id})",
            [_model_line(run, origin) for run, origin in zip(prediction.runs, prediction.origins, strict=True)],
        ),
    ]


def _model_line(run: str, origin: dict[str, object]) -> str:
    parts = [
        f"{run}: {origin.get('arch')}, best epoch {origin.get('epoch')}",
        f"trained on {origin.get('train_films', '?')} films of {origin.get('train_patients', '?')} patients of "
        f"{origin.get('dataset') or 'an unknown data set'}" + (" (synthetic)" if origin.get("synthetic") else ""),
        f"split {str(origin.get('split_sha256', 'unknown'))[:12]}",
        f"weights {str(origin.get('weights_sha256', 'unknown'))[:12]}",
        f"made {origin.get('created_at', 'on an unknown date')}",
    ]
    return ", ".join(parts) + "."


def _map_content(film: Film, explanation: Explanation | None, width: float) -> list[Flowable]:
    if explanation is None:
        return []
    picture = Image.fromarray(side_by_side(Panel(film.pixels, explanation.map), max_height=PICTURE_HEIGHT))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    buffer.seek(0)
    shown = min(width, 125 * mm * picture.width / picture.height)
    flowable = Picture(buffer, width=shown, height=shown * picture.height / picture.width)
    return [
        flowable,
        *_section("What the map shows", [explanation.statement, *explanation.alarms.sentences, *explanation.checks]),
    ]


def _score_table(prediction: Prediction, width: float) -> Table:
    rows = [
        [_text(name, 9), _bar(value, width * 0.55), _text(f"{value:.3f}", 9)] for name, value in prediction.probabilities.items()
    ]
    table = Table(rows, colWidths=[width * 0.25, width * 0.6, width * 0.15], hAlign="LEFT")
    table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "MIDDLE"), ("TOPPADDING", (0, 0), (-1, -1), 1),
                               ("BOTTOMPADDING", (0, 0), (-1, -1), 1), ("LEFTPADDING", (0, 0), (0, -1), 0)]))  # fmt: skip
    return table


def _bar(value: float, width: float) -> Table:
    bar = Table([[""]], colWidths=[max(0.5, value * width)], rowHeights=[3 * mm], hAlign="LEFT")
    bar.setStyle(TableStyle([("BACKGROUND", (0, 0), (-1, -1), BAR_COLOUR)]))
    return bar


def _section(title: str, sentences: Sequence[str]) -> list[Flowable]:
    return [Spacer(0, 2 * mm), _text(title, 9, bold=True), *(_text(sentence, 8) for sentence in sentences)]


def _text(text: str, size: float, *, bold: bool = False, grey: bool = False) -> Paragraph:
    style = ParagraphStyle(
        "text",
        fontName=BOLD if bold else FONT,
        fontSize=size,
        leading=size * 1.3,
        alignment=TA_LEFT,
        textColor=GREY if grey else HexColor("#111111"),
    )
    return Paragraph(escape(text), style)


def _register_fonts() -> None:
    """The fonts that come with matplotlib: the ones built into PDF lack most scripts in which classes can be named."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in (FONT, BOLD):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))
