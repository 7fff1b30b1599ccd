"""What a door takes, every database can keep: SQLite has no lengths, PostgreSQL has."""

from dataclasses import fields

import pytest
from fastapi import FastAPI
from psycopg import DataError as Refusal
from sqlalchemy.exc import DataError

from api.cards import CardIn, CardLine, CardPatch
from api.people import PersonIn, PersonPatch
from api.problems import problem_of
from api.tokens import TokenIn
from cardflow.db.tables import LONGEST_NAME, ApiToken, Card, Certificate, Debt, Person
from cardflow.jobs import FoundCertificate
from cardflow.x509 import CertificateFacts

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


async def test_no_filter_takes_a_character_that_cannot_be_stored(app: FastAPI):
    filters = [
        (f"{path} {parameter['name']}", parameter["schema"])
        for path, item in app.openapi()["paths"].items()
        for parameter in item.get("get", {}).get("parameters", ())
        if parameter["in"] == "query" and parameter["schema"].get("type") == "string"
    ]
    told = [name for name, schema in filters if not {"pattern", "enum", "format"} & schema.keys()]

    assert len(filters) > 20
    assert [name for name in told if not name.endswith(" cursor")] == []


def test_what_a_database_will_not_keep_is_no_failure_of_ours():
    problem = problem_of(DataError("INSERT", {}, Refusal("text fields cannot contain NUL")))

    assert problem.status == 422
    assert "too long" in problem.detail


CUT_OR_CHECKED = {"key_type", "sha256", "spki_sha256"}


def test_what_cards_and_certificates_say_of_themselves_has_room():
    said = {f.name for f in fields(CertificateFacts)} | {f.name for f in fields(FoundCertificate)}
    lengths = {c.name: getattr(c.type, "length", None) for c in Certificate.__table__.c}
    narrow = {name for name in said & lengths.keys() if lengths[name]} - CUT_OR_CHECKED

    assert narrow == {"cka_id", "serial_number"}  # longer ones are refused by ``tracking.fits``
    named = [Certificate.cka_id, Certificate.serial_number, Debt.cka_id]
    assert {column.type.length for column in named} == {LONGEST_NAME}
