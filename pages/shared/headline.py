"""The first line of History: how far a run came, why it ended, and where it was best."""

from __future__ import annotations

import pandas as pd

from mammo_core.report.x_axis import place_word, shown_epochs
from mammo_core.runs.history import place_words
from mammo_core.runs.listing import RunCard
from mammo_core.runs.schema import LIVE_STATES
from pages.shared.frame import duration

ENDINGS = {
    "max_epochs": "all planned epochs were trained",
    "early_stopping": "it ended early because the validation loss no longer fell",
    "user": "it was stopped on request",
    "non_finite": "it ended because the loss was no longer a number",
    "error": "it failed",
}


IMPORTED = "imported"


def headline(card: RunCard, frame: pd.DataFrame, seconds_left: float | None = None) -> str:
    """One or two sentences of facts on a run, from its state and its history."""
    return " ".join(filter(None, [_how_far(card, len(frame), seconds_left), _best(frame)]))


def _how_far(card: RunCard, done: int, seconds_left: float | None) -> str:
    status = card.status
    planned = status.epochs if status and status.epochs else None
    if card.task == IMPORTED and planned == done:
        return f"The file holds {done} epoch{'s' if done != 1 else ''}."
    of_planned = f"{done} of {planned} planned epochs" if planned else f"{done} epochs"
    if card.state == "queued":
        return (
            "It waits for its turn; no epoch has been trained yet."
            if not done
            else f"It waits to go on; {of_planned} are trained."
        )
    if card.state in LIVE_STATES:
        left = f", {duration(seconds_left)} left" if seconds_left is not None else ""
        return f"{'It is stopping' if card.state == 'stopping' else 'It is training'}: {of_planned} are done{left}."
    if card.state == "interrupted":
        return f"It was interrupted after {of_planned}. Nothing is lost up to the last whole epoch."
    reason = ENDINGS.get(status.stop_reason or "", "") if status else ""
    return f"Planned {planned}, ran {done}: {reason}." if planned and reason else f"It trained {of_planned}."


def _best(frame: pd.DataFrame) -> str:
    losses = frame["val_loss"].dropna() if "val_loss" in frame.columns else pd.Series(dtype=float)
    if losses.empty:
        return ""
    place = int(losses.to_numpy().argmin())
    best = frame.loc[losses.index].iloc[place]
    where = "which is the last one" if place == len(losses) - 1 and place > 0 else "the best epoch"
    accuracy = f", with accuracy {best['val_acc']:.3f}" if pd.notna(best.get("val_acc")) else ""
    own, row = best.get("source_epoch"), int(best["epoch"])
    if place_word(frame) == "row":
        counted = f" (epoch {own:g} of the file)" if pd.notna(own) else ""
        spot = f"row {row}{counted}"
    else:
        spot = place_words(float(shown_epochs(frame)[losses.index[place]]), row)
    return f"The validation loss was lowest, {best['val_loss']:.4g}, at {spot}, {where}{accuracy}."
