"""Whatever a CSR says, the certificate is the profile's or there is none, for a named reason."""

import pytest

from cardflow.ca import Issued
from cardflow.ca.embedded import open_issuing_key
from cardflow.errors import Refused
from cardflow.x509 import certificate_objections, csr_objections, facts_of_csr
from tests.ca.hostile import HOSTILE
from tests.ca.making import AUTOMATIC, PROFILES, a_csr, a_request, now

REFUSED = [pytest.param(case, id=case.name) for case in HOSTILE if case.refused]
HARMLESS = [pytest.param(case, id=case.name) for case in HOSTILE if not case.refused]


def test_the_table_is_long_enough():
    assert len(HOSTILE) >= 60
    assert all(case.source for case in HOSTILE)
    assert len({case.name for case in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize("case", REFUSED)
async def test_a_dangerous_csr_is_refused_for_a_named_reason(ca, engine, case):
    request = a_request(csr_pem=case.csr())
    with pytest.raises(Refused, match=case.refused):
        await ca.submit(request)
    assert await ca.issued_certificates() == []


@pytest.mark.parametrize("case", HARMLESS)
async def test_a_csrs_wishes_leave_no_trace(ca, case):
    request = a_request(csr_pem=case.csr())
    answer = await ca.submit(request)
    assert isinstance(answer, Issued)
    found = certificate_objections(
        answer.certificate_pem,
        csr_pem=request.csr_pem,
        profile=PROFILES[AUTOMATIC],
        subject=request.subject,
        issuer_chain_pem=await ca.ca_certificates(),
        now=now(),
    )
    assert found == []
    assert facts_of_csr(request.csr_pem).proof_of_possession


async def test_the_cas_own_key_is_not_certified(ca, home):
    key = open_issuing_key(home.directory, home.secrets.issuing)
    with pytest.raises(Refused, match="the CA's own"):
        await ca.submit(a_request(csr_pem=a_csr(key)))


def test_all_objections_come_at_once():
    weak = next(case for case in HOSTILE if case.name == "RSA-512")
    found = csr_objections(weak.csr(), None)
    assert len(found) >= 2


@pytest.mark.parametrize("case", REFUSED)
def test_no_objection_repeats_what_the_csr_says(case):
    csr_pem = case.csr()
    body = [line for line in csr_pem.splitlines() if len(line) > 40]
    text = " ".join(csr_objections(csr_pem, None))
    assert not any(line in text for line in body)
