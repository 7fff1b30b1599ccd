"""What people call the values of the core's lists. Labels of lanes are the core's own words."""

from api.web.tongue import N_

WORDS = {
    # Stages of an update
    "preparing": N_("Preparing"),
    "pending": N_("Pending"),
    "ready": N_("Ready to continue"),
    "writing": N_("Writing to the card"),
    "completed": N_("Completed"),
    "rejected": N_("Rejected"),
    "cancelled": N_("Cancelled"),
    "lapsed": N_("Lapsed"),
    "needs_attention": N_("Needs attention"),
    # Labels of lanes and states of cards
    "Preparing": N_("Preparing"),
    "Pending": N_("Pending"),
    "Rejected": N_("Rejected"),
    "Approved": N_("Approved"),
    "Valid": N_("Valid"),
    "Valid, on card": N_("Valid, on card"),
    "Revoked": N_("Revoked"),
    "Cancelled": N_("Cancelled"),
    "Lapsed": N_("Lapsed"),
    "Clean": N_("Clean"),
    "Assigned": N_("Assigned"),
    "Issued": N_("Issued"),
    "Disabled": N_("Disabled"),
    # Kinds of operation
    "update": N_("Card update"),
    "clear": N_("Revoke and clear"),
    # Parties and roles
    "holder": N_("Card holder"),
    "operator": N_("Operator"),
    "officer": N_("CA officer"),
    "admin": N_("Administrator"),
    "auditor": N_("Auditor"),
    "service": N_("Service"),
    "agent": N_("Workstation"),
    "ca": N_("Certificate authority"),
    # Documents
    "request_form": N_("Certificate request form"),
    "certificate_form": N_("Certificate form"),
    "portal": N_("Uploaded"),
    "post": N_("By post"),
    "mail": N_("By e-mail"),
    "in_person": N_("In person"),
    "electronic": N_("Signed with the card"),
    "issued": N_("Issued"),
    "checking": N_("Under check"),
    "accepted": N_("Accepted"),
    "withdrawn": N_("Taken back"),
    "replaced": N_("Replaced"),
    "arriving": N_("Arriving"),
    # Certificates
    "managed": N_("Managed"),
    "tracked": N_("Tracked"),
    "third_party": N_("Third-party"),
    "on_card": N_("On card"),
    "retired": N_("Retired"),
    "revoked": N_("Revoked"),
    # What work lists say is to be done
    "the check of the request form": N_("Check the request form"),
    "the check of the certificate form": N_("Check the certificate form"),
    "the signed request form": N_("The signed request form"),
    "the signed certificate form": N_("The signed certificate form"),
    "the decision at the CA": N_("Decide the request at the CA"),
    "the certificate authority's answer": N_("The certificate authority's answer"),
    "an operator's action: retry or cancel": N_("Try again, or cancel"),
    "the card at the workstation": N_("The card at the workstation"),
    "the visit at the workstation": N_("The visit at the workstation"),
    "Continue card update operation": N_("Continue card update operation"),
    # Mails and workstations
    "queued": N_("Waits to be sent"),
    "sent": N_("Sent"),
    "failed": N_("Failed"),
    "confirmed": N_("Confirmed"),
    "form_mailed": N_("Form mailed"),
    # Fields, as refusals name them
    "means": N_("By which means"),
    "note": N_("Note"),
    "label": N_("Label"),
    "login": N_("Login"),
    "password": N_("Password"),
    "old": N_("Old password"),
    "new": N_("New password"),
    "again": N_("New password, once more"),
    "reason": N_("Reason"),
    "file": N_("File"),
    "confirm": N_("Serial of the card"),
}


def word_of(value: str) -> str:
    """Return the English word for a value; the value itself when it has none."""
    return WORDS.get(str(value), str(value).replace("_", " "))
