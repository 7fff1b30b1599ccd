from dataclasses import replace

import pytest

from cardflow.enrolment import (
    EnrolmentAnswer,
    EnrolmentRequest,
    answer_proof,
    code_bytes,
    code_id,
    code_key,
    fingerprint_words,
    is_proof,
    new_code,
    request_proof,
)
from cardflow.errors import Refused
from cardflow.words import WORDS

REQUEST = EnrolmentRequest("id", "ab" * 32, "desk-1", "Linux", "1.0", "https://cards.example")
ANSWER = EnrolmentAnswer("agent-1", "https://cards.example", "cd" * 32)


def test_a_code_has_128_random_bits_and_survives_how_people_type():
    code = new_code()
    assert len(code_bytes(code)) == 16
    assert code_bytes(f"  {code.lower().replace('-', ' ')} ") == code_bytes(code)
    assert new_code() != code


@pytest.mark.parametrize("text", ["", "ABC", "0" * 26, "A" * 27, "ÄÖÜ" * 9])
def test_what_is_no_code_is_refused(text):
    with pytest.raises(Refused, match="26 letters"):
        code_bytes(text)


def test_the_public_name_of_a_code_says_nothing_of_its_key():
    code = new_code()
    assert code_id(code) not in code_key(code).hex()
    assert len(code_id(code)) <= 36


@pytest.mark.parametrize("field", ["code_id", "public_key", "host", "system", "version", "server"])
def test_the_request_proof_covers_every_field(field):
    key = code_key(new_code())
    other = replace(REQUEST, **{field: "changed"})
    assert not is_proof(request_proof(key, REQUEST), request_proof(key, other))


@pytest.mark.parametrize("field", ["agent_id", "issuer", "job_key"])
def test_the_answer_proof_covers_every_field_and_the_request(field):
    key = code_key(new_code())
    proof = answer_proof(key, REQUEST, ANSWER)
    assert proof != answer_proof(key, REQUEST, replace(ANSWER, **{field: "changed"}))
    assert proof != answer_proof(key, replace(REQUEST, public_key="ef" * 32), ANSWER)
    assert is_proof(proof, answer_proof(key, REQUEST, replace(ANSWER, proof="anything")))


def test_another_code_proves_nothing():
    assert request_proof(code_key(new_code()), REQUEST) != request_proof(
        code_key(new_code()), REQUEST
    )


def test_six_words_tell_keys_apart():
    words = fingerprint_words(b"a" * 32).split()
    assert len(words) == 6
    assert words != fingerprint_words(b"b" * 32).split()
    assert len(set(WORDS)) == 256
