"""What must be true of the world, whatever was killed in it: DESIGN.md section 8, I1 to I12.

Nothing here asks the product: it reads the CA's tables, the token's own objects, the mails that
came, the audit chain, Temporal's histories, the document store and the register.
"""

import base64
import hashlib
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardflow.chain import link_hash
from tests.chaos.people import Ledger
from tests.chaos.records import Activity, History

if TYPE_CHECKING:
    from tests.chaos.desk import Desk
    from tests.chaos.world import World


CLICKS = ("continue", "signature")
# Whom a mail goes to that does not go to the holder.
READERS = {"document_received": ("operator",), "escalation": ("operator", "admin")}
REMINDED = {"holder": (), "operator": ("operator",), "ca": ("operator",), "officer": ("officer",)}


def sha256(pem: str) -> str:
    """Return the fingerprint of a certificate."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def public_key(pem: str) -> bytes:
    """Return a certificate's public key."""
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


async def at_this_instant(world: "World", desk: "Desk") -> list[str]:
    """Return what is wrong with a card while something is dead: I3, I4, I5 and I10."""
    seen = await world.seen_on(desk)
    rows = await _issued_to(world, desk.holder.id)
    issued = {sha256(row["certificate_pem"]) for row in rows}
    # What a lost card carries is revoked as compromised, and stays there: it may be found again.
    valid = {
        sha256(row["certificate_pem"])
        for row in rows
        if row["revocation_reason"] == "keyCompromise" or not _is_revoked(row, world.before)
    }
    complete = {
        x["cka_id"] for x in seen["certificates"] if x["complete"] and sha256(x["pem"]) in valid
    }
    alarms = _about_certificates(seen, issued) + await _about_waiting(world, desk)
    if desk.is_clearing:
        return alarms
    if not complete:
        alarms.append("I4: no usable pair is on the card")
    if gone := desk.old - complete:
        alarms += await _about_the_old(world, desk, gone)
    return alarms


def _is_revoked(row: dict[str, Any], instant: float) -> bool:
    """Tell whether it was by then: what PostgreSQL returns as an instant, SQLite does as text."""
    revoked = row["revoked_at"]
    if isinstance(revoked, str):
        revoked = datetime.fromisoformat(revoked).replace(tzinfo=UTC)
    return revoked is not None and revoked.timestamp() < instant


def _about_certificates(seen: dict[str, Any], issued: set[str]) -> list[str]:
    found = []
    for one in seen["certificates"]:
        if not one["complete"]:
            found.append(f"I3: the certificate {one['cka_id'][:8]} has no key on the card")
        if sha256(one["pem"]) not in issued:
            found.append(f"I3: the certificate {one['cka_id'][:8]} is not as the CA issued it")
    return found


async def _about_the_old(world: "World", desk: "Desk", gone: frozenset[str]) -> list[str]:
    """I5: the server took the proof of the new pair, and then ordered that the old one goes."""
    history = await History.of(world.temporal, f"card-update/{desk.card_id}")
    if history is None:  # the card's next update hides it; what was taken is on record by then
        taken = await world.records.rows(
            "SELECT 1 FROM audit WHERE update_id = :id AND kind = 'written'", id=desk.update_id
        )
    else:
        proven = [x.answered for x in history.activities.values() if _is_proof(x)]
        ordered = [at for at, x in history.activities.items() if x.name == "clean_up"]
        taken = [at for at in ordered if proven and at > min(proven)]
    if taken:
        return []
    return [f"I5: the old pair {min(gone)[:8]} went before the new one was acknowledged"]


def _is_proof(write: Activity) -> bool:
    """Tell whether each new key signed that its certificate is on this card, for this order."""
    if write.name != "write" or not write.answer:
        return False
    proofs = {proof["lane"]: proof for proof in write.answer["proofs"]}
    ordered = {order["lane"]: order["certificate_pem"] for order in write.order["certificates"]}
    nonce, serial = write.order["nonce"], write.order["card"]["token_serial"]
    return proofs.keys() == ordered.keys() and all(
        _signed(pem, proofs[lane], bytes.fromhex(nonce), serial) for lane, pem in ordered.items()
    )


def _signed(pem: str, proof: dict[str, str], nonce: bytes, serial: str) -> bool:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    key, der = certificate.public_key(), certificate.public_bytes(Encoding.DER)
    said = b"cardflow-write-v1\0" + nonce + hashlib.sha256(der).digest() + serial.encode()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # all policies of the world say P-256
    try:
        key.verify(base64.b64decode(proof["signature"]), said, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return sha256(proof["certificate_pem"]) == sha256(pem)


async def _about_waiting(world: "World", desk: "Desk") -> list[str]:
    """I10: an open update names whom it waits for, and something will wake its workflow."""
    rows = await world.records.rows(
        "SELECT w.party, w.what FROM updates u LEFT JOIN waiting w ON w.update_id = u.id "
        "WHERE u.id = :id AND u.stage NOT IN ('completed', 'rejected', 'cancelled', 'lapsed')",
        id=desk.update_id,
    )
    if not rows:
        return []
    found = [] if all(x["party"] and x["what"] for x in rows) else ["I10: nobody is waited for"]
    history = await History.of(world.temporal, f"card-update/{desk.card_id}")
    if history is None or (history.is_open and not history.waking):
        found.append("I10: nothing will wake the workflow")
    return found


async def findings(
    world: "World", desk: "Desk", update_id: str, ledger: Ledger, expected: str
) -> list[str]:
    """Return what is wrong with an update that is over, and with what it left in the world."""
    found = list(ledger.differing)  # I11
    update = await world.records.one("SELECT * FROM updates WHERE id = :id", id=update_id)
    if not update:
        return [*found, "I2: an update that was acknowledged is not on record"]
    if update["stage"] != expected:
        found.append(f"I12: the update is {update['stage']}, not {expected}")
    found += await _about_issuing(world, desk, update_id)
    found += await _about_words(world, update_id, ledger)
    found += await _about_documents(world, update_id)
    found += await _about_the_card(world, desk, update_id, expected)
    found += await _about_mail(world, update)
    found += await _about_the_trail(world, update)
    return found + _about_logins(desk)


async def _issued_to(world: "World", person_id: str) -> list[dict[str, Any]]:
    return await world.records.rows(
        "SELECT request_id, serial_number, certificate_pem, revoked_at, revocation_reason "
        "FROM ca_certificates WHERE person_id = :person AND certificate_pem <> ''",
        person=person_id,
    )


async def _about_issuing(world: "World", desk: "Desk", update_id: str) -> list[str]:
    """I1 and I6: one certificate for each lane, and none that nobody knows of or that hangs."""
    everything = await _issued_to(world, desk.holder.id)
    rows = [row for row in everything if row["request_id"].startswith(f"{update_id}:")]
    lanes = Counter(row["request_id"].rpartition(":")[2] for row in rows)
    found = [f"I1: {n} certificates for lane {lane}" for lane, n in lanes.items() if n > 1]
    keys = Counter(public_key(row["certificate_pem"]) for row in everything)
    if max(keys.values(), default=0) > 1:
        found.append("I1: two certificates for one key")
    on_card = {sha256(x["pem"]) for x in (await world.seen_on(desk))["certificates"]}
    for row in everything:
        if row["revoked_at"] is None and sha256(row["certificate_pem"]) not in on_card:
            found.append(
                f"I6: the certificate {row['serial_number']} is neither on a card nor revoked"
            )
    drafts = await world.records.rows(
        "SELECT serial_number FROM ca_certificates WHERE request_id LIKE :like AND "
        "certificate_pem = ''",
        like=f"{update_id}:%",
    )
    unknown = await world.records.rows(
        "SELECT r.request_id FROM ca_requests r WHERE r.person_id = :person AND NOT EXISTS "
        "(SELECT 1 FROM updates u WHERE r.request_id LIKE u.id || ':%')",
        person=desk.holder.id,
    )
    found += [f"I6: the draft {row['serial_number']} was never signed" for row in drafts]
    return found + [f"I6: nobody knows of the request {row['request_id']}" for row in unknown]


async def _about_words(world: "World", update_id: str, ledger: Ledger) -> list[str]:
    """I2 and I11: what was acknowledged is journalled, and had its effect once."""
    journal = {
        row["action_id"]: row
        for row in await world.records.rows(
            "SELECT j.action_id, j.token, a.accepted FROM journal j LEFT JOIN journal_answers a "
            "ON a.action_id = j.action_id WHERE j.update_id = :id",
            id=update_id,
        )
    }
    trail = await world.records.rows(
        "SELECT kind, text FROM audit WHERE update_id = :id AND kind <> 'start_verified'",
        id=update_id,
    )
    found, happened = [], Counter(row["kind"] for row in trail)
    for said in ledger.said:
        entry = journal.get(said.action_id)
        if entry is None or not entry["accepted"]:
            found.append(f"I2: {said.what} was acknowledged and is not in the journal")
        elif said.what in CLICKS:  # the events of visits carry no token: they are counted below
            shown, taken = said.answer["visit"]["id"], _claims(entry["token"])["visit"]["id"]
            found += [f"I11: {said.what} began {taken}, not {shown}"] if shown != taken else []
        else:
            needle = said.action_id if said.what == "ca_decisions" else entry["token"]
            effects = sum(needle in row["text"] for row in trail)
            effects = happened["cancelled"] if said.what == "cancel" else effects
            found += [f"I2: {said.what} took effect {effects} times"] if effects != 1 else []
    taken = [_claims(row["token"])["visit"] for row in journal.values() if row["accepted"]]
    clicks, visits = len({visit["id"] for visit in taken if visit}), happened["visit_started"]
    if visits != clicks:
        found.append(f"I2: {clicks} clicks were answered with yes and {visits} visits began")
    return found


def _claims(token: str) -> dict[str, Any]:
    """Return what a signed action says: the middle part of a compact JWS (RFC 7515, 3.1)."""
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims


async def _about_documents(world: "World", update_id: str) -> list[str]:
    found = []
    for row in await world.records.rows(
        "SELECT sha256, size, state, direction FROM documents WHERE update_id = :id", id=update_id
    ):
        path = world.settings.document_dir / row["sha256"][:2] / row["sha256"]
        content = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(content).hexdigest() != row["sha256"] or len(content) != row["size"]:
            found.append("I2: a document on record is not in the store")
        if row["state"] == "arriving":
            found.append("I2: a document is still on its way")
    return found


async def _about_the_card(world: "World", desk: "Desk", update_id: str, expected: str) -> list[str]:
    """I3, I4, I12: register, workflow and card tell the same."""
    found = await at_this_instant(world, desk)
    seen = await world.seen_on(desk)
    issued = await _issued_to(world, desk.holder.id)
    revoked = {sha256(x["certificate_pem"]) for x in issued if x["revoked_at"] is not None}
    on_card = {sha256(x["pem"]) for x in seen["certificates"]}
    rows = await world.records.rows(
        "SELECT sha256, state FROM certificates WHERE card_id = :card AND kind = 'managed'",
        card=desk.card_id,
    )
    believed = {row["sha256"] for row in rows if row["state"] == "on_card"}
    owed = await world.owed(desk)  # what is flagged: it goes at the next visit
    if not believed - set(owed.values()) <= on_card <= believed | set(owed.values()):
        found.append(
            f"I12: {len(believed)} certificates are thought on the card, {len(on_card)} are"
        )
    if expected == "completed" and not desk.is_clearing:
        kept = {x["cka_id"] for x in seen["certificates"]} | set(owed)
        found += [
            f"I12: {n} keys are under the id {cka_id[:8]}"
            for cka_id, n in Counter(seen["privates"]).items()
            if n > 1
        ]
        if len(seen["certificates"]) > len(on_card):
            found.append("I12: a certificate is on the card twice")
        if on_card & revoked - set(owed.values()):
            found.append("I4: a certificate on the card is revoked, and no debt names it")
        if stray := set(seen["privates"]) - kept:
            found.append(f"I12: {len(stray)} keys are on the card that nobody knows of")
        if desk.old & kept - set(owed):
            found.append("I12: what was replaced is still on the card")
    history = await History.of(world.temporal, f"card-update/{desk.card_id}")
    if history is None or history.is_open:
        found.append("I12: the workflow is still open")
    return found


async def _about_mail(world: "World", update: dict[str, Any]) -> list[str]:
    """I7: each event sent the mails it asks for, and each mail came under its own Message-ID."""
    mails = await world.records.rows(
        "SELECT message_id, address, state, event, kind, person_id FROM mails "
        "WHERE update_id = :id",
        id=update["id"],
    )
    # What waits for an operator's digest is told there.
    rows = [x for x in mails if (x["state"], x["kind"]) != ("folded", "document_received")]
    came = defaultdict(set)
    for recipient, message_id in world.mailbox.received:
        came[message_id].add(recipient)
    found = [
        f"I7: the mail about event {row['event']} did not come ({row['state']})"
        for row in rows
        if row["state"] != "sent" or came[row["message_id"]] != {row["address"]}
    ]
    wanted = await _wanted_mails(world, update)
    queued = {(row["event"], row["person_id"]) for row in mails}
    found += [f"I7: event {event} sent {who} no mail" for event, who in sorted(wanted - queued)]
    found += [f"I7: event {event} asked for no mail" for event, _ in sorted(queued - wanted)]
    known = {row["message_id"] for row in await world.records.rows("SELECT message_id FROM mails")}
    unknown = {name for _, name in world.mailbox.received} - known
    return found + [f"I7: a mail came that is not on record: {name}" for name in sorted(unknown)]


async def _wanted_mails(world: "World", update: dict[str, Any]) -> set[tuple[int, str]]:
    """Return which event must mail whom, by what it says itself and by the policy it ran under."""
    people = await world.records.rows("SELECT id, roles FROM people")
    notified = json.loads(update["input"])["policy"]["notifications"]
    wanted = set()
    for row in await world.records.rows(
        "SELECT text FROM audit WHERE update_id = :id AND event > 0", id=update["id"]
    ):
        event = json.loads(row["text"])["facts"]
        asked = [event["mail"], "ready_to_continue" if event["ready"] else None]
        kind = next((one for one in asked if one in notified), None)
        if kind is None:
            continue
        roles = READERS.get(kind, ())
        if kind == "reminder":
            roles = REMINDED[event["facts"]["party"]]
        told = {x["id"] for x in people if any(role in x["roles"] for role in roles)}
        told -= {update["holder_id"], update["started_by"]}  # they may not decide on it
        wanted |= {(event["number"], who) for who in (told if roles else {update["holder_id"]})}
    return wanted


async def _about_the_trail(world: "World", update: dict[str, Any]) -> list[str]:
    """I8: the chain has no gap, and each event of the update is in it once."""
    number, previous = world.verified
    found = []
    for row in await world.records.rows(
        "SELECT number, text, previous, hash FROM audit WHERE number > :n ORDER BY number", n=number
    ):
        number += 1
        if row["number"] != number or row["previous"] != previous:
            found.append(f"I8: the audit chain breaks before entry {row['number']}")
            break
        previous = link_hash(previous, number, row["text"])
        if previous != row["hash"]:
            found.append(f"I8: entry {number} is not what was hashed")
            break
    if not found:
        world.verified = (number, previous)
    events = [
        row["event"]
        for row in await world.records.rows(
            "SELECT event FROM audit WHERE update_id = :id AND event IS NOT NULL ORDER BY event",
            id=update["id"],
        )
    ]
    if events != list(range(update["events"] + 1)):  # 0: its start was verified
        found.append(f"I8: the events on record are {events} of {update['events']}")
    return found


def _about_logins(desk: "Desk") -> list[str]:
    """I9: no process logs in more often than a PIN was typed for it."""
    logins, typed = desk.logins(), desk.typed()
    return [
        f"I9: process {pid} logged in {n} times, and {typed[pid]} PINs were typed for it"
        for pid, n in logins.items()
        if n > typed[pid]
    ]
