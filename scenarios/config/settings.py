"""Common to all blocks of a scenario: they are frozen and read strictly."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError, PydanticKnownError

from scenarios.config.yaml_file import dump_yaml


class Settings(BaseModel):
    """A block of a scenario."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )


def _no_equal_of_one(value: Any) -> Any:
    if value == 1 and type(value) is not int:  # true and 1.0 equal 1, so that `Literal` takes them
        raise PydanticKnownError("literal_error", {"expected": "1"})
    return value


SchemaVersion = Annotated[Literal[1], BeforeValidator(_no_equal_of_one)]
"""The version of a file's format."""


def dump_model(model: BaseModel) -> str:
    """The whole content of a file of any kind as YAML, defaults included."""
    # pydantic warns of a list of seeds, which it writes as it should.
    return dump_yaml(model.model_dump(mode="json", by_alias=True, warnings=False))


def out_of_range(field: str, message: str, because: str = "") -> PydanticCustomError:
    """A refusal of a field; where the file leaves it out, the line is that of the field to blame."""
    context = {"field": field, "message": message, "because": because}
    return PydanticCustomError("out_of_range", "{message}", context)


def wrong(message: str, field: str = "", because: str = "") -> PydanticCustomError:
    """A refusal; where the file leaves the field out, the line is that of the field to blame."""
    where = {"field": field, "because": because} if field else {}
    return PydanticCustomError("wrong", "{message}", {"message": message, **where})
