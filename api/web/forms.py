"""What page forms have in common."""

from typing import Annotated, Any

from fastapi import Form

from api.idempotency import LONGEST
from api.problems import Problem, problem_of

FormKey = Annotated[str, Form(max_length=LONGEST, pattern="^[ -~]*$")]
LongText = Annotated[str, Form(max_length=10_000)]


def shown_again(error: Exception, key: str, **typed: Any) -> dict[str, Any]:
    """Return what shows a form's page again after an error: the reason, and what was typed.

    A key that got a no would get the same no again; one that got no answer must be kept.
    """
    problem: Problem = problem_of(error)
    kept = key if problem.status == 503 else ""  # noqa: PLR2004 HTTP's own number
    return {"problem": problem, "given": {**typed, "key": kept}}
