"""Bands and vertical lines behind the curves, with names in rows so that no two overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from mammo_core.report.line_names import spread_apart
from mammo_core.report.spec import Spec, at, category, number, records
from mammo_core.report.theme import NEUTRAL
from mammo_core.report.x_axis import XAxis

ROW_HEIGHT = 15
"""Height of a row of names of bands and events, pixels."""
LETTER_WIDTH = 7.0
"""Generous width of a letter of a name, pixels."""
LATE = 0.65
"""Beyond this share of the axis a name stands left of its place, since there is no room to the right."""


TAG_GAP = 10.0
"""Least distance between two numbers that stand for names, pixels."""
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")
"""Roman numbers for bands: letters are names of classes in the same figure, other numbers stand for events."""


@dataclass(frozen=True)
class Band:
    """A shaded stretch of epochs (a phase), both ends inclusive."""

    first: float
    last: float
    name: str


@dataclass(frozen=True)
class Event:
    """A vertical line at an epoch with a word beside it; no word where ``name`` is empty."""

    epoch: float
    name: str
    dotted: bool = False


@dataclass(frozen=True)
class Ground:
    """Where bands and events are drawn: bands from edge to edge, and everything in units of the axis.

    In a narrow plot names that would leave their band, the plot or the one row there is are replaced by Roman numbers
    (bands) and numbers (events), which :attr:`key` explains.
    """

    axis: XAxis
    width: int
    height: float
    bands: tuple[Band, ...] = ()
    events: tuple[Event, ...] = ()
    is_named: bool = False
    clip: bool = False
    top: float = 0.0
    """Height above everything here, pixels."""
    is_narrow: bool = False

    @cached_property
    def has_roman(self) -> bool:
        """Whether bands have Roman numbers for names: one of the names is longer than its band."""
        spans = [self._pixels(band) for band in self.bands]
        return self.is_narrow and any(
            LETTER_WIDTH * len(band.name) + 8 > right - left for band, (left, right) in zip(self.bands, spans, strict=True)
        )

    @cached_property
    def has_numbers(self) -> bool:
        """Whether events have numbers for names: the names do not stand in one row within the plot."""
        spans = [self._extent(event.epoch, event.name) for event in self.events if event.name]
        rows = {row for row, _ in self._placed()}
        return self.is_narrow and (len(rows) > 1 or any(left < 0 or right > self.width for left, right in spans))

    @cached_property
    def tags(self) -> dict[str, tuple[float, str]]:
        """The numbers that are drawn: each with its place, pixels, and the name that it stands for."""
        named = sorted((event for event in self.events if event.name), key=lambda event: event.epoch)
        found: dict[str, tuple[float, str]] = {}
        if self.has_roman:
            wanted = [sum(self._pixels(band)) / 2 for band in self.bands]
            places = spread_apart(wanted, TAG_GAP, self.width)
            found |= {
                ROMAN[i % len(ROMAN)]: (place, band.name) for i, (place, band) in enumerate(zip(places, self.bands, strict=True))
            }
        if self.has_numbers:
            wanted = [self.width * self.axis.share(event.epoch) for event in named]
            places = spread_apart(wanted, TAG_GAP, self.width)
            found |= {str(i): (place, event.name) for i, (place, event) in enumerate(zip(places, named, strict=True), start=1)}
        return found

    @property
    def key(self) -> list[str]:
        """``I Rapid learning``, ``1 best epoch 12``: what the numbers stand for; empty where names are drawn."""
        return [f"{tag} {name}" for tag, (_, name) in self.tags.items()] if self.is_named else []

    def _pixels(self, band: Band) -> tuple[float, float]:
        low, high = (min(1.0, max(0.0, self.axis.share(edge))) for edge in (band.first, band.last))
        return self.width * low, self.width * high

    def is_late(self, place: float) -> bool:
        return self.axis.share(place) > LATE

    @property
    def band_rows(self) -> list[int]:
        """The row of each band's name, from the top."""
        if self.has_roman:
            return [0] * len(self.bands)
        return rows_without_overlap(self._extent(self._anchor(band), band.name) for band in self.bands)

    @property
    def event_rows(self) -> list[int]:
        """The row of each event's name, below those of the bands."""
        above = max(self.band_rows, default=-1) + 1
        rows = {} if self.has_numbers else {id(event): row for row, event in self._placed()}
        return [above + rows.get(id(event), 0) for event in self.events]

    def _placed(self) -> list[tuple[int, Event]]:
        """Named events with the rows, from 0, in which their names overlap neither each other nor a line."""
        named = [event for event in self.events if event.name]
        early = [event for event in named if not self.is_late(event.epoch)]
        late = [event for event in named if self.is_late(event.epoch)]
        # names lie left of late lines and right of early ones: in this order a line begins below the names that it would cross
        order = [*late[::-1], *early]
        rows = rows_without_crossing(
            (*self._extent(event.epoch, event.name), self.width * self.axis.share(event.epoch)) for event in order
        )
        return list(zip(rows, order, strict=True))

    @property
    def headroom(self) -> float:
        """Height that the rows of names take, pixels."""
        if not self.is_named:
            return self.top
        return self.top + ROW_HEIGHT * (max([*self.band_rows, *(row for row, event in self._named()), -1]) + 1)

    def _named(self) -> list[tuple[int, Event]]:
        return [(row, event) for row, event in zip(self.event_rows, self.events, strict=True) if event.name]

    def _anchor(self, band: Band) -> float:
        """The edge of a band at which its name stands."""
        return band.last if self.is_late(band.first) else band.first

    def _extent(self, place: float, name: str) -> tuple[float, float]:
        at_pixel, length = self.width * self.axis.share(place), LETTER_WIDTH * len(name) + 8
        return (at_pixel - length, at_pixel) if self.is_late(place) else (at_pixel, at_pixel + length)

    def parts(self) -> list[Spec]:
        """The layers: shades, their names, then a line and a name for each event."""
        layers = self._shades() if self.bands else []
        for event, row in zip(self.events, self.event_rows, strict=True):
            layers += self._line(event, row)
        return [*layers, *self._tags()] if self.is_named else layers

    def _tags(self) -> list[Spec]:
        """Roman numbers in the row of the bands' names, the others in that of the events'."""
        row = {True: 0, False: max(self.event_rows, default=0)}
        words = {"type": "text", "style": "note", "baseline": "middle", "align": "center"}
        return [
            {
                "data": records([{"name": tag}]),
                "mark": words,
                "encoding": {"x": at(place), "y": at(self._middle(row[tag.isalpha()])), "text": category("name")},
            }
            for tag, (place, _) in self.tags.items()
        ]

    def _middle(self, row: int) -> float:
        return self.top + (row + 0.5) * ROW_HEIGHT

    def _shades(self) -> list[Spec]:
        low, high = self.axis.low, self.axis.high
        data = records(
            {
                "from": max(band.first, low),
                "to": min(band.last, high),
                "name": band.name,
                "shade": 0.13 if index % 2 else 0.05,
            }
            for index, band in enumerate(self.bands)
        )
        x = number("from", scale=self.axis.scale)
        opacity = number("shade", scale=None)
        mark = {"type": "rect", "color": NEUTRAL, "clip": self.clip}
        encoding = {"x": x, "x2": {"field": "to"}, "opacity": opacity}
        encoding |= {"y": at(self.top), "y2": at(self.height)} if self.top else {}
        parts: list[Spec] = [{"data": data, "mark": mark, "encoding": encoding}]
        if self.is_named and not self.has_roman:
            for band, row in zip(self.bands, self.band_rows, strict=True):
                parts.append(self._name(self._anchor(band), band.name, row, "edge"))
        return parts

    def _line(self, event: Event, row: int) -> list[Spec]:
        field = self.axis.field
        data = records([{field: event.epoch, "name": event.name}])
        rule = {"type": "rule", "style": "guide", "strokeDash": [1, 3] if event.dotted else [4, 3], "clip": self.clip}
        x = number(field, scale=self.axis.scale)
        parts: list[Spec] = [
            {"data": data, "mark": rule, "encoding": {"x": x, "y": at(top), "y2": at(bottom)}}
            for top, bottom in self.stretches(event, row)
        ]
        if self.is_named and event.name and not self.has_numbers:
            parts.append(self._name(event.epoch, event.name, row, field))
        return parts

    def stretches(self, event: Event, row: int) -> list[tuple[float, float]]:
        """The line of an event from its name down, in pixels, left out where it would cross another event's name."""
        if not self.is_named:
            return [(self.top, self.height)]
        if self.has_numbers:
            return [(self.top + (row + 1) * ROW_HEIGHT, self.height)]
        place = self.width * self.axis.share(event.epoch)
        crossed = {
            other_row
            for other_row, other in self._named()
            if other is not event and (span := self._extent(other.epoch, other.name))[0] < place < span[1]
        }
        first = row if event.name else max(self.band_rows, default=-1) + 1
        found: list[tuple[float, float]] = []
        top = self.top + first * ROW_HEIGHT
        for gap in sorted(other for other in crossed if other >= first):
            if self.top + gap * ROW_HEIGHT > top:
                found.append((top, self.top + gap * ROW_HEIGHT))
            top = self.top + (gap + 1) * ROW_HEIGHT
        return [*found, (top, self.height)]

    def _name(self, place: float, name: str, row: int, field: str) -> Spec:
        side = {"align": "right", "dx": -4} if self.is_late(place) else {"align": "left", "dx": 4}
        words = {"type": "text", "style": "note", "baseline": "middle", "clip": self.clip, **side}
        x = number(field, scale=self.axis.scale)
        encoding = {"x": x, "y": at(self._middle(row)), "text": category("name")}
        return {"data": records([{field: place, "name": name}]), "mark": words, "encoding": encoding}


def rows_without_overlap(extents: Iterable[tuple[float, float]]) -> list[int]:
    """The first row, from 0, in which each stretch (left, right) overlaps none of those placed before."""
    rows: list[list[tuple[float, float]]] = []
    found = []
    for left, right in extents:
        free = (i for i, row in enumerate(rows) if all(right < other[0] or left > other[1] for other in row))
        place = next(free, len(rows))
        if place == len(rows):
            rows.append([])
        rows[place].append((left, right))
        found.append(place)
    return found


def rows_without_crossing(names: Iterable[tuple[float, float, float]]) -> list[int]:
    """Rows for names (left, right, place of the line that goes down from their row) without overlap.

    A row in which no line crosses a name is taken where there is one, else the first that is free.
    """
    placed: list[tuple[int, float, float, float]] = []
    for left, right, line in names:
        free = [
            row
            for row in range(len(placed) + 1)
            if all(row != other or right < start or left > end for other, start, end, _ in placed)
        ]
        clear = (
            row
            for row in free
            if not any(other < row and left < down < right for other, _, _, down in placed)
            and not any(other > row and start < line < end for other, start, end, _ in placed)
        )
        placed.append((next(clear, free[0]), left, right, line))
    return [row for row, *_ in placed]


def joined_events(events: Sequence[Event]) -> tuple[Event, ...]:
    """Events in order of their epochs; those of one epoch become one line with their names in a row."""
    found = []
    for epoch, group in groupby(sorted(events, key=lambda event: event.epoch), key=lambda event: event.epoch):
        together = list(group)
        name = ", ".join(dict.fromkeys(event.name for event in together if event.name))
        found.append(Event(epoch, name, all(event.dotted for event in together)))
    return tuple(found)
