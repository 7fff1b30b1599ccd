"""A form signed with the card: exactly the bytes named, with exactly the certificate named."""

import io

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from cardflow.jobs import IssuedForm, Outcome, SignatureBox, in_pieces, whole
from cardflow.model import KeyType, ObjectRef
from tests.agent.desk import ref_of
from tests.documents.build import form

pytestmark = [pytest.mark.softhsm, pytest.mark.usefixtures("forked_visits")]

SLOWER = pytest.param(KeyType.P_384, marks=pytest.mark.slow)
BOX = SignatureBox(0, 300, 200, 500, 260)


@pytest.fixture
async def written(desk):
    """Return what puts a certificate on the card and says where it is."""

    async def write(key_type=KeyType.P_256, lane="logon"):
        desk.person.types(desk.pin)
        (key,) = (await desk.run(desk.prepare_job(desk.order(lane, key_type)))).keys
        order = desk.certificate_for(key)
        desk.person.types(desk.pin)
        assert (await desk.run(desk.write_job(order))).outcome is Outcome.DONE
        return ref_of(order.cka_id, order.certificate_pem)

    return write


def carried(content=None, **changes):
    return IssuedForm(**({"content": in_pieces(content or form()), "box": BOX} | changes))


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.P_256, SLOWER])
async def test_the_signed_form_begins_with_the_issued_one_and_verifies(desk, written, key_type):
    signer = await written(key_type)
    desk.person.types(desk.pin)
    result = await desk.run(desk.sign_job(form(), signer), carried())

    assert result.outcome is Outcome.DONE, result
    signed = whole(desk.visits.signed)
    assert signed.startswith(form())
    (signature,) = PdfFileReader(io.BytesIO(signed)).embedded_signatures
    context = ValidationContext(trust_roots=[], allow_fetching=False)
    status = await async_validate_pdf_signature(signature, context)
    assert (status.intact, status.valid, status.coverage.name) == (True, True, "ENTIRE_FILE")
    assert status.signing_cert.sha256.hex() == signer.certificate_sha256
    assert signature.sig_object["/SubFilter"] == "/ETSI.CAdES.detached"


async def test_the_prompt_names_the_form_and_its_digest(desk, written):
    signer = await written()
    desk.person.types(desk.pin)
    job = desk.sign_job(form(), signer)
    await desk.run(job, carried())

    digits = f"{job.sha256[:4]} {job.sha256[4:8]}"
    assert f"you sign “Request form” (SHA-256 {digits}" in desk.person.saw()


async def test_signing_changes_nothing_on_the_card(desk, written):
    signer = await written()
    before = desk.contents()
    desk.person.types(desk.pin)
    await desk.run(desk.sign_job(form(), signer), carried())

    assert desk.contents() == before


async def test_another_form_than_the_one_named_is_not_signed_and_no_pin_is_asked_for(desk, written):
    signer = await written()
    asked = desk.person.was_asked()
    for other in (carried(form() + b" "), IssuedForm(content=()), None):
        result = await desk.run(desk.sign_job(form(), signer), other)
        assert result.outcome is Outcome.DOCUMENT_REFUSED

    assert desk.person.was_asked() == asked


@pytest.mark.parametrize("content", [b"no PDF", b"%PDF-1.7\nbroken"])
async def test_what_is_no_pdf_is_not_signed(desk, written, content):
    signer = await written()
    result = await desk.run(desk.sign_job(content, signer), carried(content))

    assert result.outcome is Outcome.DOCUMENT_REFUSED
    assert "cannot be read as a PDF" in result.message


async def test_a_form_that_is_signed_already_is_not_signed_again(desk, written):
    signer = await written()
    desk.person.types(desk.pin)
    await desk.run(desk.sign_job(form(), signer), carried())
    signed = whole(desk.visits.signed)
    result = await desk.run(desk.sign_job(signed, signer), carried(signed))

    assert "signature, already" in result.message


async def test_a_certificate_that_is_not_on_the_card_signs_nothing(desk, written):
    signer = await written()
    for other in (ObjectRef(signer.cka_id, "00" * 32), ObjectRef("ab" * 20, "00" * 32)):
        desk.person.types(desk.pin)
        result = await desk.run(desk.sign_job(form(), other), carried())
        assert result.outcome is Outcome.SIGNER_MISSING
        assert desk.visits.signed == ()


async def test_a_signer_that_is_not_named_exactly_is_refused(desk, written):
    signer = await written()
    result = await desk.run(desk.sign_job(form(), ObjectRef(signer.cka_id)), carried())

    assert (result.outcome, desk.visits.signed) == (Outcome.CARD_FAILED, ())


async def test_a_wrong_pin_signs_nothing(desk, written):
    signer = await written()
    desk.person.types("000000")
    result = await desk.run(desk.sign_job(form(), signer), carried())

    assert (result.outcome, desk.visits.signed) == (Outcome.PIN_INCORRECT, ())
