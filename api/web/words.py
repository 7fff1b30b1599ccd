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
    # Fields, as refusals name them
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
