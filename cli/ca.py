"""`cardflow ca`: `init` and `root-crl` work on the CA's directory, all else asks the API."""

from pathlib import Path

from cyclopts import App

from cardflow.ca import RevocationReason
from cardflow.settings import load_settings
from cli.output import save, say, show_list, show_record, working
from cli.sessions import HERE, Connection

app = App(name="ca", help="The certificate authority: set it up, look at requests, revoke.")
REQUEST_COLUMNS = ("id", "title", "subject", "requested_by_name", "created_at", "may_decide")
CERTIFICATE_COLUMNS = ("serial_number", "subject", "profile", "state", "not_after", "update_id")


@app.command
def init(
    *,
    policy_oid: str,
    organization: str = "",
    root_passphrase_file: Path | None = None,
    token_module: Path | None = None,
    token_label: str = "",
    token_key_label: str = "Cardflow issuing CA",  # noqa: S107 (a name)
    state: Path | None = None,
) -> None:
    """Make an offline root and an issuing CA, on the machine that Cardflow runs on.

    For example:

        cardflow ca init --policy-oid 1.3.6.1.4.1.32473.1 --organization "Example Insurance"

    With `--token-module` the issuing key is made on a PKCS #11 token, which never gives it away;
    the token's PIN is then in the file of the issuing key's passphrase.

    Afterwards take `root/key.pem` in the CA's directory offline, with its passphrase.

    Parameters
    ----------
    policy_oid
        The identifier of your certificate policy, which every certificate names. It stands below
        an arc of your own (a private enterprise number of IANA's costs nothing), with no number
        above 4294967295. The one above is for examples and trials (RFC 5612).
    organization
        The name in both CA certificates; default: the setting `organisation`.
    root_passphrase_file
        A file (mode 0600) with the root key's passphrase; default: `ca-root-passphrase` beside the
        issuing key's passphrase.
    token_module
        The token's PKCS #11 module, a file; every worker loads it from there.
    token_label
        The label of the token.
    token_key_label
        The label of the key that is made on the token.
    state
        The state directory; default: CARDFLOW_STATE_DIR, else var.
    """
    from cardflow.ca.embedded.setup import CaNames, Secrets, init_ca  # its linter loads slowly
    from cardflow.ca.embedded.token_key import TokenPlace

    settings = load_settings(state)
    place = TokenPlace(str(token_module), token_label, token_key_label) if token_module else None
    beside = settings.ca_passphrase_file.with_name("ca-root-passphrase")
    with working("making the root and the issuing CA"):
        made = init_ca(
            settings.ca_dir,
            names=CaNames(organization or settings.organisation),
            public_url=settings.public_url,
            secrets=Secrets(root_passphrase_file or beside, settings.ca_passphrase_file),
            token=place,
            policy_oid=policy_oid,
        )
    say(f"the CA is in {settings.ca_dir}: {made.issuing.subject.rfc4514_string()}")
    say(f"  → take {settings.ca_dir}/root/key.pem offline, with its passphrase")


@app.command
def root_crl(*, root_key: Path, root_passphrase_file: Path, state: Path | None = None) -> None:
    """Renew the root's CRL with the root key, brought back for this moment.

    Parameters
    ----------
    root_key
        The root's key file.
    root_passphrase_file
        A file (mode 0600) with its passphrase.
    state
        The state directory; default: CARDFLOW_STATE_DIR, else var.
    """
    from cardflow.ca.embedded.setup import renew_root_crl

    directory = load_settings(state).ca_dir
    renew_root_crl(directory, root_key_file=root_key, root_secret_file=root_passphrase_file)
    say("the root's CRL is renewed\n  → take the key offline again")


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
