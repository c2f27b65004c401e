"""From the names in the settings to features: presets, parameters, and a user's own functions.

`rsi(14)` is a feature of `feature_functions`, `preset:guide` a list of them, and `module:function`
or `module:function(60)` a function of the user's; `rank(...)` and its like of `feature_across` compare
one of them over the symbols. This module computes nothing.
"""

import difflib
import importlib
import inspect
import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from engine.errors import SettingsError
from engine.feature_across import ACROSS
from engine.feature_functions import FEATURES, PRESETS, Feature

_SPEC = re.compile(r"\s*([\w.:]+)\s*(?:\(([^()]*)\))?\s*")

_ACROSS = re.compile(rf"\s*({'|'.join(ACROSS)})\s*(?:\((.*)\))?\s*")
_NOT_ALONE = re.compile(r"\d|preset:")  # what begins so between the brackets is no feature


def resolve(specs: tuple[str, ...]) -> tuple[Feature, ...]:
    """Return the named features in order, presets expanded.

    Raises: SettingsError for an unknown, malformed or repeated name, or none at all.
    """
    features = tuple(_feature(name) for spec in specs for name in _expand(spec))
    if not features:
        raise SettingsError('features: expected at least one name, found none; try "preset:guide"')
    names = [feature.name for feature in features]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(
                f'feature "{name}" is named {names.count(name)} times (presets count); name it once'
            )
    return features


def _expand(spec: str) -> tuple[str, ...]:
    if not spec.startswith("preset:"):
        return (spec,)
    name = spec.removeprefix("preset:")
    if name not in PRESETS:
        raise SettingsError(_unknown("feature preset", name, list(PRESETS)))
    return PRESETS[name]


def _feature(spec: str) -> Feature:
    over = _ACROSS.fullmatch(spec)
    if over is None:
        return _of_one_symbol(spec)
    how, name = over[1], (over[2] or "").strip()
    if not name or _NOT_ALONE.match(name) or _ACROSS.fullmatch(name):
        raise SettingsError(
            f'feature "{spec}": expected one feature of one symbol between the brackets, found '
            f'"{name}"; write for example "{how}(momentum(20))"'
        )
    base = _of_one_symbol(name)
    return replace(base, name=f"{how}({base.name})", across=ACROSS[how])


def _of_one_symbol(spec: str) -> Feature:
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise SettingsError(
            f'feature "{spec}": expected a name, name(numbers) or module:function, '
            'for example "rsi(14)" or "rank(momentum(20))"'
        )
    name, numbers = match[1], _numbers(match[2], spec)
    if ":" in name:
        return _own(name, numbers, spec)
    if name not in FEATURES:
        raise SettingsError(_unknown("feature", name, list(FEATURES)))
    return _registered(FEATURES[name], numbers, spec)


def _numbers(text: str | None, spec: str) -> list[int]:
    parts = (text or "").split(",") if (text or "").strip() else []
    if any(re.fullmatch(r"\s*\d+\s*", part) is None for part in parts):
        raise SettingsError(f'feature "{spec}": expected whole numbers between the brackets')
    return [int(part) for part in parts]


def _registered(factory: Callable[..., Feature], numbers: list[int], spec: str) -> Feature:
    known = inspect.signature(factory).parameters
    usage = f"{factory.__name__}({','.join(f'{p.name}={p.default}' for p in known.values())})"
    if len(numbers) > len(known):
        raise SettingsError(
            f'feature "{spec}": expected at most {len(known)} numbers, found {len(numbers)}; '
            f"its form is {usage if known else factory.__name__}"
        )
    if any(number < 1 for number in numbers[:1]):
        raise SettingsError(f'feature "{spec}": expected at least 1 bar; its form is {usage}')
    try:
        return factory(*numbers)
    except ValueError as error:
        raise SettingsError(f'feature "{spec}": {error}; its form is {usage}') from error


def _own(name: str, numbers: list[int], spec: str) -> Feature:
    function = _load(name, spec)
    parameter = inspect.signature(function).parameters.get("lookback")
    default = getattr(function, "lookback", parameter.default if parameter else None)
    lookback = numbers[0] if numbers else default
    if len(numbers) > 1 or not isinstance(lookback, int) or lookback < 1:
        raise SettingsError(
            f'feature "{spec}": expected one lookback of at least 1 bar, found '
            f'{numbers or default}; write "{name}(60)", or give the function a `lookback` '
            "attribute or a default for its parameter `lookback`"
        )
    if parameter is not None:
        function = partial(function, lookback=lookback)
    return Feature(f"{name}({lookback})", lookback, function, packed=True)


def _load(name: str, spec: str) -> Callable[..., np.ndarray]:
    module_name, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f'feature "{spec}": no module {error.name} in {os.getcwd()} nor installed; run in the '
            "folder that holds it, or put that folder on PYTHONPATH"
        ) from error
    except (AttributeError, ValueError) as error:
        raise SettingsError(
            f'feature "{spec}": module "{module_name}" has no function "{attribute}"; '
            "expected module:function"
        ) from error
    if not callable(function):
        raise SettingsError(f'feature "{spec}": {name} is not a function but {type(function)}')
    checked: Callable[..., np.ndarray] = function
    return checked


def _unknown(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    return f'unknown {what} "{name}"; {hint}known: {", ".join(known)}; your own: module:function'
