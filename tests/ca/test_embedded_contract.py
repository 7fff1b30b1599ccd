"""The contract over the embedded CA."""

import pytest
from cryptography import x509

from cardflow.ca.embedded import EmbeddedCA
from cardflow.model import Verdict
from cardflow.x509 import load_certificate
from tests.ca.contract import ConnectorContract, UnderTest
from tests.ca.making import AUTOMATIC, OFFICER, PROFILES, approve


class TestEmbeddedCA(ConnectorContract):
    """The embedded CA keeps the contract."""

    @pytest.fixture
    def under_test(self, ca: EmbeddedCA) -> UnderTest:
        async def reject(handle: str, reason: str) -> None:
            facts = await ca.request(handle)
            await ca.decide(handle, "officer-1", Verdict.REJECT, reason, facts.digest)

        async def is_revoked(pem: str) -> bool:
            crl = x509.load_der_x509_crl(await ca.crl_der())
            number = load_certificate(pem).serial_number
            return crl.get_revoked_certificate_by_serial_number(number) is not None

        return UnderTest(
            ca=ca,
            profiles=PROFILES,
            automatic=AUTOMATIC,
            officer=OFFICER,
            approve=lambda handle: approve(ca, handle),
            reject=reject,
            is_revoked=is_revoked,
        )
