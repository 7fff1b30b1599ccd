"""Policies in words: every key has a name, every value a sentence."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from api.web.tongue import N_, Tongue
from api.web.words import word_of
from cardflow.model import Mode, Policy, PolicyProfile, Profile

SAID = {
    ("mode", "none"): N_("No form is signed"),
    ("mode", "R"): N_("A request form is signed before the CA decides"),
    ("mode", "F"): N_("A certificate form is signed before the card is written"),
    ("mode", "RF"): N_("A request form and a certificate form are signed"),
    ("mandatory", "True"): N_("Every card carries it"),
    ("mandatory", "False"): N_("The holder may choose it"),
    ("precheck", "True"): N_("An operator checks the request form before the CA gets it"),
    ("precheck", "False"): N_("The request form goes to the CA unchecked"),
    ("request_form_signature", "paper"): N_("The request form is signed on paper"),
    ("request_form_signature", "electronic"): N_("The request form is signed by card"),
    ("request_form_signature", "either"): N_("The request form is signed on paper or by card"),
    ("certificate_form_signature", "paper"): N_("The certificate form is signed on paper"),
    ("certificate_form_signature", "electronic"): N_("The certificate form is signed by card"),
    ("certificate_form_signature", "either"): N_(
        "The certificate form is signed on paper or by card"
    ),
    ("approve_signed", "True"): N_("A valid signature with the card needs no operator"),
    ("approve_signed", "False"): N_("An operator checks electronic signatures too"),
    ("attach_documents", "True"): N_("Operators get the document with the mail"),
    ("attach_documents", "False"): N_("Mails to operators carry no document"),
    ("document_exchange", "portal"): N_("Signed forms are uploaded here"),
    ("document_exchange", "outside"): N_("Signed forms come by other means"),
    ("search_third_party", "True"): N_("Third-party certificates on the card can be watched"),
    ("search_third_party", "False"): N_("Third-party certificates are left alone"),
    ("select_third_party", "True"): N_("The holder picks which of them are watched"),
    ("select_third_party", "False"): N_("All of them are watched"),
    ("on_rejection", "continue"): N_("The other certificates go on when the CA rejects one"),
    ("on_rejection", "all_or_nothing"): N_("One rejection by the CA undoes the whole update"),
    ("keep_old_encryption", "True"): N_("Old encryption keys stay, so old mail stays readable"),
    ("keep_old_encryption", "False"): N_("Old encryption keys go; old mail becomes unreadable"),
    ("revoke_replaced", "True"): N_("Replaced certificates are revoked"),
    ("revoke_replaced", "False"): N_("Replaced certificates stay valid until they expire"),
    ("permissions.update", "True"): N_("The holder may start an update"),
    ("permissions.update", "False"): N_("Only an operator starts an update"),
    ("permissions.select_optional", "True"): N_("The holder may choose optional certificates"),
    ("permissions.select_optional", "False"): N_("The holder may not choose optional certificates"),
    ("permissions.cancel", "True"): N_("The holder may cancel an update"),
    ("permissions.cancel", "False"): N_("The holder may not cancel an update"),
    ("permissions.view_contents", "True"): N_("The holder may see what is on the card"),
    ("permissions.view_contents", "False"): N_("The holder may not see what is on the card"),
    ("permissions.delete_documents", "True"): N_("The holder may take back a document under check"),
    ("permissions.delete_documents", "False"): N_("The holder may not take back a document"),
    ("sid_extension", "True"): N_("with the person's SID"),
    ("True", ""): N_("yes"),
    ("False", ""): N_("no"),
}  # fmt: skip
APART = ("name", "version", "title", "contact", "profiles")
COLUMNS = ("profile", "mandatory", "mode", "key_type")  # they have columns of their own
UNUSED = {
    Mode.REQUEST_FORM: ("certificate_form_signature",),
    Mode.CERTIFICATE_FORM: ("request_form_signature", "precheck"),
}
NOBODY = N_("none")
ABSENT = N_("not in the policy")


@dataclass(frozen=True)
class PolicyWords:
    """Says a policy's keys and values in one language."""

    tongue: Tongue
    profiles: Mapping[str, Profile]

    def label(self, key: str) -> str:
        """Return what the key is called: ``profiles.NAME.mode`` with the profile's title."""
        if not key.startswith("profiles."):
            return self.tongue.say(word_of(key))
        _, name, *leaf = key.split(".")
        parts = [self.title(name), *(self.tongue.say(word_of(one)) for one in leaf)]
        return ": ".join(parts)

    def title(self, name: str) -> str:
        """Return what the profile is called; its name when it is not there any more."""
        profile = self.profiles.get(name)
        return self.tongue.say(profile.title) if profile else name

    def rules(self, policy: Policy) -> Iterator[tuple[str, Any]]:
        """Yield every rule beside the certificates, each with its value."""
        for key, value in asdict(policy).items():
            if isinstance(value, dict):
                yield from ((f"{key}.{inner}", one) for inner, one in value.items())
            elif key not in APART:
                yield key, value

    def checks(self, entry: PolicyProfile) -> list[str]:
        """Return the keys of a profile that say how its forms are checked, where it has any."""
        if entry.mode == Mode.NONE:
            return []
        keys = [one.name for one in fields(entry) if one.name not in COLUMNS]
        unused = UNUSED.get(entry.mode, ())
        return [key for key in keys if key not in unused]

    def said(self, key: str, value: Any) -> str:
        """Return the value in words."""
        if value is None:
            return self.tongue.say(ABSENT)
        if isinstance(value, Mapping):
            return "; ".join(self.said(name, inner) for name, inner in value.items()
                             if name != "profile")  # fmt: skip
        if isinstance(value, list | tuple):
            said = ", ".join(self.tongue.say(word_of(one)) for one in value)
            return said or self.tongue.say(NOBODY)
        leaf = key.rpartition(".")[2] if key.startswith("profiles.") else key
        return self._one(leaf, value)

    def _one(self, key: str, value: Any) -> str:
        if said := SAID.get((key, str(value))) or SAID.get((str(value), "")):
            return self.tongue.say(said)
        if isinstance(value, int):
            return self._number(key, value)
        return self.tongue.say(word_of(value)) if value else self.tongue.say(NOBODY)

    def _number(self, key: str, value: int) -> str:
        number = self.tongue.number(value)
        if key.endswith("_days"):
            return self.tongue.count("{n} day", "{n} days", value).format(n=number)
        if key.endswith("_hours"):
            return self._hours(value)
        if key == "approvals_needed":
            one, many = "{n} approval per document", "{n} approvals per document"
            return self.tongue.count(one, many, value).format(n=number)
        return number

    def _hours(self, value: int) -> str:
        if value % 24 == 0:
            days = value // 24
            number = self.tongue.number(days)
            return self.tongue.count("{n} day", "{n} days", days).format(n=number)
        number = self.tongue.number(value)
        return self.tongue.count("{n} hour", "{n} hours", value).format(n=number)
