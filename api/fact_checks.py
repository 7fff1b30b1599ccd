"""Evidence is verified again each time it is shown: signatures, proofs, digests."""

from cryptography.exceptions import InvalidSignature

from api.fact_shapes import Case, Check, CheckedOut, Told
from cardflow import decisions
from cardflow.db.tables import AuditEntry
from cardflow.documents.store import Damaged, DocumentStore
from cardflow.errors import Refused
from cardflow.jobs import WriteProof
from cardflow.model import EventKind, Lane
from cardflow.proofs import write_objections
from cardflow.x509 import csr_objections, load_certificate


def checks_of(case: Case, entry: AuditEntry, told: Told, token: str) -> list[CheckedOut]:
    """Return what can be verified about an entry of the trail."""
    found = [read_action(case, token, entry.actor)] if token else []
    match entry.kind:
        case EventKind.KEY_PREPARED:
            found.append(_possession(case, told))
        case EventKind.CERTIFICATE_ISSUED if case.issuer_pem:
            found.append(_issued(case, told))
        case EventKind.WRITTEN:
            found.append(_written(case, told))
    return found


def read_action(case: Case, token: str, actor: str) -> CheckedOut:
    """Verify the signed action against the root, and that it is this person's on this update."""
    try:
        action = decisions.read(token, case.root)
    except Refused as refusal:
        return CheckedOut.of(Check.SIGNED_ACTION, refusal.objections)
    same = (action.update_id, action.actor) == (case.update.update_id, actor)
    found = [] if same else ["the signed action is for another update or by somebody else"]
    return CheckedOut.of(Check.SIGNED_ACTION, found)


async def document_checks(store: DocumentStore, sha256: str) -> list[CheckedOut]:
    """Verify that the stored bytes still have the digest."""
    try:
        await store.get(sha256)
    except (Damaged, Refused) as error:
        return [CheckedOut.of(Check.STORED_BYTES, [str(error)])]
    return [CheckedOut.of(Check.STORED_BYTES, [])]


def _possession(case: Case, told: Told) -> CheckedOut:
    plan = next((plan for plan in case.update.plan.lanes if plan.lane == told.lane), None)
    key_type = plan.key_type if plan else None
    csr_pem = str(told.facts.get("csr_pem", ""))
    return CheckedOut.of(Check.PROOF_OF_POSSESSION, csr_objections(csr_pem, key_type))


def _issued(case: Case, told: Told) -> CheckedOut:
    issuer = load_certificate(case.issuer_pem)
    try:
        certificate = load_certificate(str(told.facts.get("certificate_pem", "")))
        certificate.verify_directly_issued_by(issuer)
    except (Refused, InvalidSignature, ValueError, TypeError):
        found = ["the certificate does not carry the signature of this CA"]
        return CheckedOut.of(Check.ISSUED_BY_CA, found)
    return CheckedOut.of(Check.ISSUED_BY_CA, [])


def _written(case: Case, told: Told) -> CheckedOut:
    plan = next((plan for plan in case.update.plan.lanes if plan.lane == told.lane), None)
    stored = case.lanes.get(told.lane)
    if plan is None or stored is None or not stored.certificate_pem:
        return CheckedOut.of(Check.WRITE_PROOF, ["the certificate is not on record"])
    facts = {key: str(told.facts.get(key, "")) for key in WRITTEN_FACTS}
    pem = stored.certificate_pem
    lane = Lane(plan, certificate_pem=pem, certificate_sha256=facts["certificate_sha256"])
    proof = WriteProof(told.lane, plan.cka_id, pem, facts["signature"])
    found = write_objections(lane, proof, nonce=facts["nonce"], token_serial=facts["token_serial"])
    return CheckedOut.of(Check.WRITE_PROOF, found)


WRITTEN_FACTS = ("certificate_sha256", "signature", "nonce", "token_serial")
