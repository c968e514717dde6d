"""The settings of a training in groups, each with its reason. A preset fills them in; a wrong value is refused at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from mammo_core.config import TrainConfig
from mammo_core.errors import ConfigError
from mammo_core.presets import Preset
from pages.shared.frame import plain

ARCHITECTURES = (
    "tf_efficientnet_lite0",
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
    "efficientnet_b0",
    "efficientnet_b2",
    "resnet50",
    "densenet121",
    "convnext_tiny",
)
"""Proposals; any name that timm knows can be typed."""


@dataclass(frozen=True)
class Field:
    """One setting: how it is called, why it matters, and how it is asked for."""

    key: str
    label: str
    reason: str
    kind: str = "number"
    """``number`` (typed as text, so that 3e-4 stays 3e-4), ``optional`` (a number, or none), ``whole``, ``never`` (0 stands for
    none), ``choice``, ``switch``, ``size``, ``weights`` (a word or a list of numbers)."""
    options: tuple[str, ...] = ()
    nothing: str = "(none)"
    """How a choice shows that nothing is set."""


OPEN_CHOICES = ("arch", "weights", "class_weights", "view")
"""Choices that take a typed value too."""

GROUPS: dict[str, tuple[Field, ...]] = {
    "Data": (
        Field(
            "view",
            "View",
            "Learns from and judges films of one view only; models of single views can be averaged.",
            "choice",
            ("CC", "MLO"),
            "(all views)",
        ),
        Field(
            "sampler",
            "Films of an epoch",
            "balanced shows each class equally often, those of rare classes several times; set class weights to none with it.",
            "choice",
            ("shuffle", "balanced"),
        ),
    ),
    "Model": (
        Field(
            "arch",
            "Architecture",
            "Lite0 is small and its weights are installed. Larger ones need more films.",
            "choice",
            ARCHITECTURES,
        ),
        Field(
            "weights",
            "First weights",
            "ImageNet needs far fewer films than starting from nothing.",
            "choice",
            ("imagenet", "none"),
        ),
        Field("init_from", "Continue from run", "Starts from the best weights of an earlier run of the same kind.", "choice"),
        Field("embeddings", "Embeddings", "Features of a frozen network that join what the backbone sees; made below.", "choice"),
        Field("dropout", "Dropout", "Share of features left out at random; more of it against overfitting."),
    ),
    "Image": (
        Field("image_size", "Image size, pixels", "Larger shows finer detail; twice the side takes four times as long.", "size"),
    ),
    "Schedule": (
        Field("epochs", "Epochs", "Passes over the training films; the learning rate falls over all of them.", "whole"),
        Field("warmup_epochs", "Warm-up epochs", "The learning rate rises slowly first, which protects the ready-made weights."),
        Field(
            "early_stopping_patience",
            "Patience, epochs",
            "Stops after so many epochs without improvement; 0 never stops early.",
            "never",
        ),
        Field("batch_size", "Batch size", "Films for one step; lower it when memory runs out.", "whole"),
        Field("optimizer", "Optimiser", "AdamW is the usual choice.", "choice", ("adamw", "adam")),
        Field("lr", "Learning rate", "The most sensitive setting; when it is too high, the loss jumps."),
        Field("min_lr", "Learning rate at the end", "Where the fall ends."),
        Field("weight_decay", "Weight decay", "Keeps weights small; against overfitting."),
        Field(
            "backbone_lr_factor",
            "Backbone's share",
            "Of the learning rate: below 1, ready-made weights take smaller steps than the new head; 0.1 to 0.3 is usual.",
        ),
        Field(
            "ema_decay",
            "Mean of weights",
            "0.999 validates and keeps a slow mean of the weights, which is steadier; none is off.",
            "optional",
        ),
    ),
    "Loss": (
        Field(
            "loss",
            "Loss",
            "ordinal also counts how far an answer is from the true class; for classes in an order, such as density.",
            "choice",
            ("cross_entropy", "ordinal"),
        ),
        Field("class_weights", "Class weights", "auto counts rare classes more, in training only.", "weights", ("auto", "none")),
        Field("label_smoothing", "Label smoothing", "Makes the model less sure of itself; 0 is off."),
    ),
    "Augmentation": (
        Field(
            "augment",
            "Augmentation",
            "light turns, shifts and brightens each film a little each time; strong does more of it and erases patches.",
            "choice",
            ("none", "light", "strong"),
        ),
        Field("mixup", "Mixup", "0.2 blends pairs of films, which calibrates but blurs the training loss; 0 is off."),
    ),
    "Machine": (
        Field("device", "Device", "auto takes CUDA, then Apple MPS, then the CPU.", "choice", ("auto", "cpu", "cuda", "mps")),
        Field("num_workers", "Loading processes", "0 loads in the training process; the result is the same.", "whole"),
        Field("threads", "Threads", "0 takes the physical cores.", "never"),
        Field(
            "precision",
            "Precision",
            "auto takes bfloat16 on a CUDA device that has it, which is faster; elsewhere float32.",
            "choice",
            ("auto", "float32", "bfloat16"),
        ),
        Field("micro_batch", "Films at once", "Cuts a batch that memory cannot hold; 0 takes as many as fit.", "never"),
        Field(
            "graphs",
            "CUDA graphs",
            "Replays the step as one; compiled also fuses its kernels, which pays in long runs. auto decides.",
            "choice",
            ("auto", "off", "graph", "compiled"),
        ),
        Field(
            "deterministic",
            "Repeatable",
            "The same result each time on CUDA too, where it is slower; a CPU is so anyway.",
            "switch",
        ),
    ),
}

DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
A_ROW = 3


def settings_form(preset: Preset, found: Mapping[str, Sequence[str]]) -> tuple[dict[str, Any], str]:
    """Draw the settings; returns those of the preset with the changes, and the problem (empty where there is none).

    Parameters
    ----------
    found : what the workspace offers for a setting, by its key
    """
    version = st.session_state.setdefault("train_reset", 0)
    before = {**DEFAULTS, **preset.settings}
    chosen: dict[str, Any] = {}
    places: dict[str, Any] = {}
    for group, tab in zip(GROUPS, st.tabs(list(GROUPS)), strict=True):
        with tab:
            for column, field in zip(_columns(len(GROUPS[group])), GROUPS[group], strict=True):
                with column:
                    key = f"train_{version}_{preset.name}_{field.key}"
                    value = _ask(field, before[field.key], key, found.get(field.key, field.options))
                    if not _same(value, before[field.key]):
                        chosen[field.key] = value
                    places[field.key] = st.container()
    problem = _problem({**preset.settings, **chosen})
    if problem:
        places.get(problem.split()[0], st).error(plain(problem), icon=":material/error:")
    _changes(chosen, before)
    return {**preset.settings, **chosen}, problem


def _columns(count: int) -> list[Any]:
    rows = [st.columns(A_ROW) for _ in range(-(-count // A_ROW))]
    return [column for row in rows for column in row][:count]


def _changes(chosen: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    if not chosen:
        st.caption("All settings as the preset has them.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        told = ", ".join(f"{key} {_text(before[key])} → {_text(value)}" for key, value in chosen.items())
        st.caption(f"Changed: {plain(told)}", width="stretch")
        if st.button("Reset to the preset", icon=":material/restart_alt:", key="train_reset_button"):
            st.session_state["train_reset"] += 1
            st.rerun()


def _problem(settings: Mapping[str, Any]) -> str:
    try:
        TrainConfig.from_dict(settings, source="the settings")
    except ConfigError as error:
        return str(error)
    return ""


# ---- one setting ------------------------------------------------------------------------------------------------------


def _ask(field: Field, value: Any, key: str, offered: Sequence[str]) -> Any:
    if field.kind in ("whole", "never"):
        number = st.number_input(field.label, value=int(value or 0), step=1, key=key, help=field.reason)
        return None if field.kind == "never" and number == 0 else number
    if field.kind == "choice" or field.kind == "weights":
        return _ask_choice(field, value, key, offered)
    if field.kind == "switch":
        return st.checkbox(field.label, bool(value), key=key, help=field.reason)
    text = st.text_input(field.label, _text(value), key=key, help=field.reason).strip()
    if field.kind == "optional" and text.lower() in ("", "none"):
        return None
    return _size(text) if field.kind == "size" else _number(text)


def _ask_choice(field: Field, value: Any, key: str, offered: Sequence[str]) -> Any:
    options = [*offered]
    if DEFAULTS[field.key] is None:
        options.insert(0, field.nothing)
    shown = field.nothing if value is None else _text(value)
    if shown not in options:
        options.append(shown)
    is_open = field.key in OPEN_CHOICES
    picked = st.selectbox(field.label, options, options.index(shown), key=key, help=field.reason, accept_new_options=is_open)
    if picked is None or picked == field.nothing:
        return None
    if field.kind == "weights" and picked not in field.options:
        return [_number(part.strip()) for part in str(picked).split(",")]
    return picked


def _number(text: str) -> float | str:
    """A number, or the text itself, which the check then names."""
    try:
        return float(text)
    except ValueError:
        return text


def _size(text: str) -> Any:
    """``512`` or ``512 x 256`` (height, width)."""
    parts = [part.strip() for part in text.lower().replace("×", "x").replace(",", "x").split("x")]
    sides = [int(part) if part.isdecimal() else part for part in parts]
    return sides[0] if len(sides) == 1 else sides


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return str(value[0]) if len(set(value)) == 1 and len(value) == 2 else " x ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _same(value: Any, before: Any) -> bool:
    if isinstance(value, float):
        try:
            return value == float(before)
        except (TypeError, ValueError):
            return False
    return _text(value) == _text(before)
