"""How History draws: one row of choices above the figures. Every choice stands in the page's URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from mammo_core.report.charts_history import PANELS, PanelName
from mammo_core.report.x_axis import AxisKind
from pages.shared.glossary import explain

LAYOUTS = {"below": "One below the other", "together": "Together"}
AXES = {"epoch": "Epochs", "time": "Elapsed time"}
SCALES = {"linear": "Linear loss", "log": "Log loss"}
SMOOTHINGS = {"0": "Raw", "0.6": "Smoothed 0.6", "0.9": "0.9"}


@dataclass(frozen=True)
class Look:
    """What was chosen; every field is one of the values offered, whatever the URL says."""

    axis: AxisKind = "epoch"
    log_loss: bool = False
    smoothing: float = 0.0
    panels: tuple[PanelName, ...] = tuple(PANELS)
    is_together: bool = False


def choose_look(several: bool) -> Look:
    """The row of choices. ``several`` runs can also be drawn together, where one metric takes the place of the panels."""
    with st.container(horizontal=True, gap="small"):
        layout = _one_of("Several runs", LAYOUTS, "history_layout") if several else "below"
        axis = _one_of("Along", AXES, "history_axis")
        scale = _one_of("Loss scale", SCALES, "history_scale")
        smoothing = _one_of("Smoothing", SMOOTHINGS, "history_smoothing")
        panels = _panels() if layout == "below" else tuple(PANELS)
    return Look("time" if axis == "time" else "epoch", scale == "log", float(smoothing), panels, layout == "together")


def _one_of(label: str, words: Mapping[str, str], key: str) -> str:
    chosen = st.segmented_control(
        label,
        list(words),
        format_func=lambda name: words.get(name, name),
        default=next(iter(words)),
        required=True,
        key=key,
        bind="query-params",
        label_visibility="collapsed",
    )
    return chosen if chosen in words else next(iter(words))


def _panels() -> tuple[PanelName, ...]:
    with st.popover("Panels", icon=":material/view_agenda:"):
        chosen = st.pills(
            "Panels",
            list(PANELS),
            format_func=lambda name: PANELS[name] if name in PANELS else str(name),
            selection_mode="multi",
            default=list(PANELS),
            key="history_panels",
            bind="query-params",
            label_visibility="collapsed",
        )
        st.caption(explain("smoothing"))
    return tuple(name for name in PANELS if name in chosen) or ("loss",)
