"""`cardflow evidence`: fetching the proof of an update, and verifying one without any server."""

from pathlib import Path

from cyclopts import App

from cardflow.errors import Refused
from cli.output import console, save, show_json, working
from cli.sessions import HERE, Connection

app = App(name="evidence", help="The evidence pack of an update: export it, verify it offline.")


@app.command
def export(update: str, /, *, output: Path | None = None, connection: Connection = HERE) -> None:
    """Fetch everything that proves what happened to an update, as one signed ZIP.

    For example:

        cardflow evidence export 0192… --output evidence.zip
    """
    with connection.open() as api, working("collecting the evidence"):
        content = api.content(f"/updates/{update}/evidence")
    save(content, output)


@app.command
def verify(file: Path, /, *, roots: Path, json: bool = False) -> None:
    """Check a pack with nothing but the organisation's root keys; fails if anything is wrong.

    For example:

        cardflow evidence verify evidence.zip --roots /media/roots

    Parameters
    ----------
    file
        The pack.
    roots
        A directory of PEM files, or one file: the public key of the decision root, and the root
        certificate of the CA. Take them from where you trust, never from the pack's sender.
    json
        Print the checks as JSON.
    """
    from cardflow.evidence.checks import verify as verify_pack  # what it needs loads slowly
    from cardflow.evidence.roots import load_roots

    trusted = load_roots(roots)
    try:
        with file.open("rb") as pack:
            checks = verify_pack(pack, trusted)
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from error
    if json:
        show_json([{"name": c.name, "ok": c.ok, "objections": c.objections} for c in checks])
    else:
        for check in checks:
            line = f"{'ok    ' if check.ok else 'FAILED'} {check.name}"
            why = f": {'; '.join(check.objections)}" if check.objections else ""
            console.print(f"{line}{why}", markup=False, soft_wrap=True)
    if failed := [check for check in checks if not check.ok]:
        raise Refused(f"{len(failed)} of {len(checks)} checks failed: do not rely on this pack")
