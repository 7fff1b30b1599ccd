"""Changing the keys that sign, while everything that the old ones signed stays good.

A new job key counts at once, a new decision key when every API process has started anew.
"""

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cardflow.errors import Refused
from cardflow.job_keys import JobKeys, followed, raw_hex, succession
from cardflow.secret_files import write_secret
from cardflow.settings import Settings
from cardflow.wire import from_json, to_json
from cli.local_secrets import Maker, ed25519_key, issue_decision_key, pem_of

RESTART = "start every API process anew: until then the old key goes on"


def change_decision_key(settings: Settings, maker: Maker) -> str:
    """Leave a new key to sign decisions with; open updates take it, for the root stays."""
    issue_decision_key(settings, maker)
    return f"decisions are signed by a new key; {RESTART}"


def change_job_key(settings: Settings) -> str:
    """Leave a new key to sign jobs with, which the old one has named; agents follow by themselves.

    1. The new key is in a file of its own before anybody names it.
    2. The old key names it: agents follow from now on, and not before the API uses it.
    3. It takes the old key's place. Broken off after 1 or 2, the same command goes on there.
    """
    old, key_file = ed25519_key(settings.job_key_file), settings.job_key_file
    coming = key_file.with_name(f"{key_file.stem}-next{key_file.suffix}")
    if not coming.exists():
        write_secret(coming, pem_of(Ed25519PrivateKey.generate()))
    new, issuer = raw_hex(ed25519_key(coming)), settings.door_url
    known = _known(settings.job_key_history_file)
    if followed(raw_hex(old), known.successions, issuer) != new:
        named = succession(old, new, issuer)
        _keep(settings.job_key_history_file, JobKeys((*known.successions, named)))
    coming.replace(key_file)
    return "jobs are signed by a new key; nothing needs to be started anew"


def _known(path: Path) -> JobKeys:
    if not path.exists():
        return JobKeys()
    try:
        return from_json(JobKeys, json.loads(path.read_bytes()))
    except (ValueError, Refused) as error:
        raise Refused(f"{path} holds no successions of the job key; restore it") from error


def _keep(path: Path, keys: JobKeys) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(to_json(keys), indent=1))
    fresh.replace(path)
