"""What was typed into a form, as the shape that a route takes."""

from typing import Any, TypeVar

from pydantic import ValidationError

from api.problems import FieldProblem, Problem
from api.reasons import reason_of
from api.shapes import In

Shape = TypeVar("Shape", bound=In)


LONGEST_NUMBER = 9


def number(typed: str) -> int | str:
    """Return what was typed as a number, or as it is when it is none."""
    is_one = typed.isascii() and typed.isdigit() and len(typed) <= LONGEST_NUMBER
    return int(typed) if is_one else typed


def filled(shape: type[Shape], typed: dict[str, Any]) -> Shape:
    """Return the shape, or raise Problem with every reason by field."""
    try:
        return shape.model_validate(typed)
    except ValidationError as error:
        found = [
            FieldProblem(field=str(entry["loc"][0]), reason=reason_of(entry))
            for entry in error.errors(include_input=False, include_url=False)
        ]
        detail = "; ".join(f"{one.field}: {one.reason}" for one in found)
        raise Problem(422, detail, *found) from None
