"""`relbid train --set`: values for fields of TrainConfig and, under `model`, of HCMRMConfig."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from scenarios.config.yaml_file import read_value
from scenarios.errors import UserError, did_you_mean


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Settings from texts like `label_noise=0.1` and `model.n_frames=1`; values are YAML, later ones win.

    Raises:
        UserError: a text has another form, or names a field that is not there, or gives it a value of another
            kind.
    """
    if not texts:
        return {}
    from relevance.hcmrm.model_config import HCMRMConfig  # imports torch
    from relevance.hcmrm.training.train_config import TrainConfig

    fields = get_type_hints(TrainConfig)
    sizes = {
        name: hint
        for name, hint in get_type_hints(HCMRMConfig.__init__).items()
        if name in inspect.signature(HCMRMConfig).parameters and name != "kwargs"
    }
    settings: dict[str, Any] = {}
    for text in texts:
        field, equals, written = text.partition("=")
        field = field.strip()
        if not equals:
            raise UserError(f"--set {text}: needs the form field=value, for instance --set label_noise=0.1")
        inner = field.removeprefix("model.")
        known = sizes if inner != field else fields
        if field == "model":
            raise UserError(f"--set {text}: set one size, for instance --set model.n_frames=1")
        if inner not in known:
            hint = did_you_mean(inner, known)
            raise UserError(f"--set {text}: a training has no field '{field}'{hint}")
        value = _value(text, known[inner], written)
        if inner != field:
            settings.setdefault("model", {})[inner] = value
        else:
            settings[field] = value
    return settings


def _value(text: str, kind: Any, written: str) -> Any:
    """The value as the field has it: numbers without a fraction where it counts, tuples for lists."""
    try:
        return TypeAdapter(kind).validate_python(read_value(written))
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UserError(f"--set {text}: {reason[0].lower()}{reason[1:]}") from None
