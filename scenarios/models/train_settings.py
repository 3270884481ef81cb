"""`relbid train --set`: values for fields of TrainConfig and, under `model`, of HCMRMConfig."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from scenarios.config.problems import value_refusal
from scenarios.config.yaml_file import read_value
from scenarios.errors import UserError, did_you_mean, listed


def read_settings(options: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """Settings of a training from the options of a command, and over them those from texts.

    Args:
        options: an option that is named as a field of TrainConfig sets it, unless it is None or empty.
        texts: such as `label_noise=0.1` and `model.n_frames=1`; values are YAML, later ones win.

    Raises:
        UserError: a text has another form, names an unknown field, or gives it a value of the wrong type.
    """
    fields, sizes = known_settings()
    given = {name: value for name, value in options.items() if name in fields and value not in (None, [], ())}
    settings = {name: _plain(value) for name, value in given.items()}
    for text in texts:
        field, equals, written = text.partition("=")
        field = field.strip()
        if not equals:
            raise UserError(f"--set {text}: needs the form field=value, for instance --set label_noise=0.1")
        if field == "model":
            raise UserError(f"--set {text}: set one size, for instance --set model.n_frames=1")
        inner = field.removeprefix("model.")
        known, place = (fields, settings) if inner == field else (sizes, settings.setdefault("model", {}))
        if inner not in known:
            hint = did_you_mean(inner, known) or f"; there are {listed(sorted(known))}"
            raise UserError(f"--set {text}: a training has no field '{field}'{hint}")
        place[inner] = _value(text, known[inner], written)
    return settings


def known_settings() -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of TrainConfig and of HCMRMConfig by name, each with its type. Imports torch."""
    from relevance.hcmrm.model_config import SIZES, HCMRMConfig
    from relevance.hcmrm.training.train_config import TrainConfig

    sizes = get_type_hints(HCMRMConfig.__init__, include_extras=True)
    return get_type_hints(TrainConfig, include_extras=True), {name: sizes[name] for name in SIZES}


def _plain(value: Any) -> Any:
    """An option's value as TrainConfig has it: tuples for lists, texts for paths."""
    return tuple(value) if isinstance(value, list) else str(value) if isinstance(value, Path) else value


def _value(text: str, kind: Any, written: str) -> Any:
    try:
        # By way of JSON, whose strict reading takes lists for tuples but no text for numbers.
        return TypeAdapter(kind).validate_json(json.dumps(read_value(written)), strict=True)
    except ValidationError as error:
        raise UserError(f"--set {text}: {value_refusal(error)}") from None
    except UserError as error:
        raise UserError(f"--set {text}: {error}") from None
