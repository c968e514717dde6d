"""Layers that an SVG asks for without need: each costs the renderer a copy of the whole picture, seconds for a large one."""

from __future__ import annotations

import re

CLIP = re.compile(r'<clipPath id="(\w+)"><rect x="0" y="0" width="([\d.]+)" height="([\d.]+)"/></clipPath>')
CLIPPED = re.compile(r'(<g class="mark-(?:line|area)[^"]*") clip-path="url\(#(\w+)\)"([^>]*>)(.*?)(?=</g>)', re.DOTALL)
SHAPE = re.compile(r' d="([^"]*)"')
ABSOLUTE = re.compile(r"[MLZ\d.,e-]*")
POINT = re.compile(r"(-?[\d.]+(?:e-?\d+)?),(-?[\d.]+(?:e-?\d+)?)")
PATH = re.compile(r"<path [^>]*>")
OPACITY = re.compile(r' opacity="([\d.]+)"')


def without_needless_layers(svg: str) -> str:
    """The same picture with fewer layers.

    Lines and areas that lie inside their clip rectangle lose it. The opacity of a path that is only filled or only stroked
    becomes the opacity of that fill or stroke.
    """
    sizes = {name: (float(width), float(height)) for name, width, height in CLIP.findall(svg)}

    def unclipped(match: re.Match[str]) -> str:
        size = sizes.get(match[2])
        if size is None or not all(_is_inside(shape, size) for shape in SHAPE.findall(match[4])):
            return match[0]
        return f"{match[1]}{match[3]}{match[4]}"

    return PATH.sub(_with_own_opacity, CLIPPED.sub(unclipped, svg))


def _is_inside(shape: str, size: tuple[float, float]) -> bool:
    if not ABSOLUTE.fullmatch(shape):
        return False  # relative or curved: its extent is not in the numbers
    return all(0 <= float(x) <= size[0] and 0 <= float(y) <= size[1] for x, y in POINT.findall(shape))


def _with_own_opacity(match: re.Match[str]) -> str:
    path = match[0]
    filled, stroked = ' fill="' in path, ' stroke="' in path
    if filled == stroked or "-opacity=" in path:
        return path
    return OPACITY.sub(rf' {"fill" if filled else "stroke"}-opacity="\1"', path)
