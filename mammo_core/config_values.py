"""Values of a YAML file turned into the kinds that settings have, or refused in words."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

from mammo_core.errors import ConfigError

LARGEST = 2**63
MOST_SHOWN = 120
"""Characters of a wrong value in its message."""


def coerce(key: str, value: Any, hint: Any, source: str) -> Any:
    """Turn a YAML value into the field's type, or say what was expected."""
    if key == "image_size" and isinstance(value, int) and not isinstance(value, bool):
        value = [value, value]
    expected = " or ".join(_describe(option) for option in _options(hint))
    try:
        for option in _options(hint):
            matched, result = _match(value, option)
            if matched:
                return result
        found = repr(value)[:MOST_SHOWN]
    except (OverflowError, ValueError) as error:  # a whole number beyond any float, or with more digits than Python writes
        raise ConfigError(f"{key} is too large a number in {source}; expected {expected}.") from error
    raise ConfigError(f"{key} is {found} in {source}; expected {expected}.")


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union else (hint,)


def _match(value: Any, option: Any) -> tuple[bool, Any]:
    if typing.get_origin(option) is Literal:
        return value in typing.get_args(option) and isinstance(value, str), value
    if typing.get_origin(option) is tuple:
        return _match_tuple(value, typing.get_args(option))
    if option is types.NoneType:
        return value is None, None
    if option is bool:
        return isinstance(value, bool), value
    if option is float:
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
            try:
                return True, float(value)
            except ValueError:
                return False, None
        return isinstance(value, int | float) and not isinstance(value, bool), value if not isinstance(value, int) else float(
            value
        )
    if option is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST, value
    return isinstance(value, option), value


def _match_tuple(value: Any, kinds: tuple[Any, ...]) -> tuple[bool, Any]:
    if not isinstance(value, list | tuple):
        return False, None
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        return False, None
    matches = [_match(item, kind) for item, kind in zip(value, kinds, strict=True)]
    return all(ok for ok, _ in matches), tuple(item for _, item in matches)


def _describe(option: Any) -> str:
    if typing.get_origin(option) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(option))
    if typing.get_origin(option) is tuple:
        kinds = typing.get_args(option)
        return f"a list of {_describe(kinds[0])}" if kinds[-1] is Ellipsis else f"{len(kinds)} times {_describe(kinds[0])}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}[option]
