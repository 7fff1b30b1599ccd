"""pkilint in process: its validators are built once, its findings never kept."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from cardflow.errors import Refused


@dataclass(frozen=True)
class Finding:
    """What the linter says of one certificate; a serious finding is never signed."""

    severity: str  # pkilint's: NOTICE WARNING ERROR FATAL ...
    code: str
    message: str
    serious: bool

    @property
    def text(self) -> str:
        """The finding in one line."""
        return f"lint: {self.code}" + (f" ({self.message})" if self.message else "")


def refuse_findings(der: bytes) -> tuple[str, ...]:
    """Return remarks below a warning; raise Refused on a warning or worse."""
    found = findings_on(der)
    if objections := [finding.text for finding in found if finding.serious]:
        raise Refused(*objections)
    return tuple(finding.text for finding in found)


def findings_on(der: bytes) -> tuple[Finding, ...]:
    """Return everything that the linter says of the certificate."""
    from pkilint.validation import ValidationFindingSeverity

    loader, validator = tools()
    results = validator.validate(loader.load_der_document(der).root)
    return tuple(
        Finding(
            severity=found.finding.severity.name,
            code=found.finding.code,
            message=found.message or "",
            serious=found.finding.severity <= ValidationFindingSeverity.WARNING,
        )
        for result in results
        for found in result.finding_descriptions
    )


@cache
def tools() -> tuple[Any, Any]:
    """Imported late: pkilint costs a second that only processes that issue should pay."""
    from pkilint.loader import RFC5280CertificateDocumentLoader
    from pkilint.pkix import certificate, extension, name

    decoders = certificate.create_decoding_validators(
        name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
    )
    parts = [
        certificate.create_issuer_validator_container([]),
        certificate.create_validity_validator_container(),
        certificate.create_subject_validator_container([]),
        certificate.create_extensions_validator_container([]),
        certificate.create_spki_validator_container([]),
    ]
    validator = certificate.create_pkix_certificate_validator_container(decoders, parts)
    return RFC5280CertificateDocumentLoader(), validator
