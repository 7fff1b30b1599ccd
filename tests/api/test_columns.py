"""What a door takes, every database can keep: SQLite has no lengths, PostgreSQL has."""

import pytest
from psycopg import DataError as Refusal
from sqlalchemy.exc import DataError

from api.cards import CardIn, CardLine, CardPatch
from api.people import PersonIn, PersonPatch
from api.problems import problem_of
from api.tokens import TokenIn
from cardflow.db.tables import ApiToken, Card, Person

TAKEN = [
    *((shape, Card) for shape in (CardIn, CardLine, CardPatch)),
    *((shape, Person) for shape in (PersonIn, PersonPatch)),
    (TokenIn, ApiToken),
]
BY_PATTERN = {"token_serial", "login", "language", "time_zone", "same_as", "mail_digest"}


def longest(field):
    """Return how long a field of a description may be; None where it does not say."""
    either = [field, *field.get("anyOf", [])]
    return max((one["maxLength"] for one in either if "maxLength" in one), default=None)


@pytest.mark.parametrize(("shape", "table"), TAKEN)
def test_no_text_is_longer_than_its_column(shape, table):
    lengths = {column.name: getattr(column.type, "length", None) for column in table.__table__.c}
    shared = {
        name: longest(field)
        for name, field in shape.model_json_schema()["properties"].items()
        if lengths.get(name) and name not in BY_PATTERN
    }

    assert shared
    for name, length in shared.items():
        assert length is not None, f"{name} has no longest length"
        assert length <= lengths[name], name


def test_what_a_database_will_not_keep_is_no_failure_of_ours():
    problem = problem_of(DataError("INSERT", {}, Refusal("text fields cannot contain NUL")))

    assert problem.status == 422
    assert "too long" in problem.detail
