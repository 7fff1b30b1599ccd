"""`cardflow reconcile`: on the machine that Cardflow runs on, beside a running worker."""

from dataclasses import asdict
from email.utils import parseaddr
from pathlib import Path

from cryptography import x509
from rich.markup import escape

from cardflow.db.update_record import UpdateRecord
from cardflow.decision_root import read_decision_root
from cardflow.decisions import Signer
from cardflow.reconcile import Finding, Installation, reconcile
from cardflow.settings import Settings, load_settings
from cardflow.sql import create_engine, sessions_of
from cardflow.stores import store_of
from cardflow.temporal.client import connect
from cardflow.temporal.ending import run_and_exit
from cli.local_secrets import ed25519_key
from cli.output import console, show_json, working


def command(
    *,
    apply: bool = False,
    documents: bool = False,
    state: Path | None = None,
    json: bool = False,
) -> None:
    """Compare database, Temporal, CA and documents, and name each difference with its remedy.

    Nothing is changed without `--apply`. Fails while a difference stands. A worker must be running.

    For example:

        cardflow reconcile
        cardflow reconcile --apply

    Parameters
    ----------
    apply
        Start updates anew whose workflow was lost, and put back on record what only Temporal or the
        CA knows. Can be repeated; no certificate is issued twice.
    documents
        Read every document of the store, not only those of open updates.
    state
        The state directory; default: CARDFLOW_STATE_DIR, else var.
    json
        Print the differences as JSON.
    """
    run_and_exit(_run(load_settings(state), apply=apply, documents=documents, as_json=json))


async def _run(settings: Settings, *, apply: bool, documents: bool, as_json: bool) -> int:
    with working("comparing"):
        found = await differences(settings, apply=apply, documents=documents)
    if as_json:
        show_json([asdict(one) for one in found])
    else:
        show_differences(found)
    return int(any(not one.mended for one in found))


async def differences(
    settings: Settings, *, apply: bool = False, documents: bool = False
) -> list[Finding]:
    """Return every difference in the installation of these settings; mended ones say how."""
    engine = create_engine(settings.database_url)
    sessions, root = sessions_of(engine), read_decision_root(settings.decision_root_file)
    domain = parseaddr(settings.mail_sender)[1].rpartition("@")[2]
    record = UpdateRecord(
        sessions, decision_root=root, mail_domain=domain, digest_above=settings.digest_above
    )
    try:
        return await reconcile(
            Installation(
                sessions,
                await connect(settings),
                settings.temporal_task_queue,
                record,
                root,
                _signer(settings),
                store_of(settings),
                settings.audit_checkpoint_dir,
                apply=apply,
                every_document=documents,
            )
        )
    finally:
        await engine.dispose()


def _signer(settings: Settings) -> Signer:
    """Return what vouches for the state that a lost update goes on from."""
    certificate = settings.decision_certificate_file.read_bytes()
    key = ed25519_key(settings.decision_key_file)
    return Signer(key, x509.load_pem_x509_certificate(certificate))


def show_differences(found: list[Finding]) -> None:
    """Print each difference with its remedy, or with what was done about it."""
    for one in found:
        sign, then = ("✓", one.mended) if one.mended else ("✗", one.remedy)
        console.print(f"{sign} {escape(one.text)}\n  → {escape(then)}", soft_wrap=True)
    console.print(_summary(found))


def _summary(found: list[Finding]) -> str:
    if not found:
        return "database, Temporal, CA and documents agree"
    mended = sum(bool(one.mended) for one in found)
    if len(found) == 1:
        return "1 difference, mended" if mended else "1 difference"
    return f"{len(found)} differences, {mended} of them mended"
