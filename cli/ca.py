"""`cardflow ca`: the embedded CA; `init` works on its directory, the rest asks the API."""

from pathlib import Path

from cyclopts import App

from cardflow.ca import RevocationReason
from cli.output import save, say, show_list, show_record
from cli.sessions import HERE, Connection

app = App(name="ca", help="The certificate authority: set it up, look at requests, revoke.")
REQUEST_COLUMNS = ("id", "profile", "subject", "state", "requested_by", "created_at")
CERTIFICATE_COLUMNS = ("serial_number", "subject", "profile", "state", "not_after")


@app.command
def requests(*, state: str = "pending", connection: Connection = HERE) -> None:
    """List requests at the CA, first those that wait for an officer."""
    with connection.open() as api:
        show_list(api.items("/ca/requests", state=state), REQUEST_COLUMNS, as_json=connection.json)


@app.command
def request(request: str, /, *, connection: Connection = HERE) -> None:
    """Show one request with everything that a decision rests on."""
    with connection.open() as api:
        show_record(api.get(f"/ca/requests/{request}"), as_json=connection.json)


@app.command
def certificates(
    *, serial_number: str = "", person: str = "", connection: Connection = HERE
) -> None:
    """List issued certificates, by serial number or by person."""
    with connection.open() as api:
        found = api.items("/ca/certificates", serial_number=serial_number, person=person)
        show_list(found, CERTIFICATE_COLUMNS, as_json=connection.json)


@app.command
def revoke(
    serial_number: str, /, *, reason: RevocationReason, connection: Connection = HERE
) -> None:
    """Revoke a certificate; the CRL and OCSP say so at once.

    For example:

        cardflow ca revoke 4f1c… --reason keyCompromise
    """
    with connection.open() as api:
        api.post(f"/ca/certificates/{serial_number}/revoke", {"reason": reason})
    say(f"{serial_number} is revoked")


@app.command
def crl(*, output: Path | None = None, connection: Connection = HERE) -> None:
    """Fetch the CRL, DER."""
    with connection.open() as api:
        save(api.content("/pki/crl"), output)
