"""pkilint in process: its validators are built once, its findings never kept."""

from functools import cache
from typing import Any

from cardflow.errors import Refused


def refuse_findings(der: bytes) -> tuple[str, ...]:
    """Return remarks below a warning; raise Refused on a warning or worse."""
    from pkilint.validation import ValidationFindingSeverity

    remarks: list[str] = []
    objections: list[str] = []
    for severity, text in _findings(der):
        serious = severity <= ValidationFindingSeverity.WARNING
        (objections if serious else remarks).append(text)
    if objections:
        raise Refused(*objections)
    return tuple(remarks)


def _findings(der: bytes) -> list[tuple[Any, str]]:
    loader, validator = _tools()
    results = validator.validate(loader.load_der_document(der).root)
    return [
        (found.finding.severity, f"lint: {found.finding.code}" + _detail(found.message))
        for result in results
        for found in result.finding_descriptions
    ]


def _detail(message: str | None) -> str:
    return f" ({message})" if message else ""


@cache
def _tools() -> tuple[Any, Any]:
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
