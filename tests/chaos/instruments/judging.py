"""The oracle over a card: what must be true at the instant of a fault, and after the recovery.

It asks the real module and the token's own files, never the product.
"""

from tests.chaos.instruments.cards import Errand, digest_of


def at_the_fault(errand: Errand) -> None:
    """I3, I4, I5 and I9 of the invariants, and what belongs to others."""
    card = errand.card
    (old,) = card.old
    seen = card.look(old.cka_id, errand.new_id)
    if not errand.written:
        assert digest_of(old) in seen[old.cka_id]["usable"], "I4, I5: the old pair is damaged"
    if errand.written:
        assert digest_of(errand.certificate) in seen[errand.new_id]["usable"], "I4: no usable pair"
    on_card = set(seen[errand.new_id]["certificates"])
    assert on_card <= set(seen[errand.new_id]["usable"]), "I3: a certificate without its key"
    assert on_card <= {digest_of(errand.certificate)} if errand.certificate else not on_card, "I3"
    _common(errand)


def at_the_end(errand: Errand, *, torn: int = 0) -> None:
    """The update is finished, once; nothing is left over but ``torn`` files that nobody reads."""
    card = errand.card
    (old,) = card.old
    assert errand.is_over, f"a repeat did not finish: {errand.ended}"
    assert errand.issued == 1
    seen = card.look(old.cka_id, errand.new_id, card.debt.cka_id)
    new = digest_of(errand.certificate)
    assert seen[errand.new_id] == {
        "counts": {"certificate": 1, "private": 1, "public": 1},
        "certificates": {new: 1},
        "usable": [new],
    }
    assert seen[old.cka_id]["counts"] == {"certificate": 1, "private": 0, "public": 1}, "of others"
    assert digest_of(old) not in seen[old.cka_id]["certificates"]
    assert sum(seen[card.debt.cka_id]["counts"].values()) == 0, "the debt is not paid"
    left = len(card.files()) - len(card.kept) - len(("token", "certificate", "private", "public"))
    assert 0 <= left <= torn, "objects were left over"
    _common(errand)


def _common(errand: Errand) -> None:
    card = errand.card
    files = card.files()
    touched = [name for name, digest in card.kept.items() if files.get(name) != digest]
    assert not touched, "objects of others were touched"
    logins = card.calls().count("C_Login")
    assert logins <= card.desk.person.was_asked(), "I9: a PIN was used twice"
