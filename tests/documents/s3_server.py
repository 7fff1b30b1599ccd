"""A real S3 server, SeaweedFS, in a directory and on loopback ports of its own."""

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cardflow.documents.s3 import CONFIG, Bucket
from cli.ports import free_ports
from cli.processes import ROOT
from tests.waiting import until

ROLES = ("master", "volume", "filer", "s3")
BUCKET = "documents"
SHIPPED = "with-the-shipped-rights"


@contextmanager
def s3_server(folder: Path) -> Iterator[Bucket]:
    """Yield who we are at a server that is being started; it ends with the block."""
    folder.mkdir()
    ports = free_ports(2 * len(ROLES))
    numbers = dict(zip(ROLES, ports[: len(ROLES)], strict=True))
    bucket = Bucket(
        BUCKET, f"http://127.0.0.1:{numbers['s3']}", "us-east-1", "cardflow", secrets.token_hex(20)
    )
    options = [f"-{role}.port={port}" for role, port in numbers.items()]
    options += [
        f"-{role}.port.grpc={port}" for role, port in zip(ROLES, ports[len(ROLES) :], strict=True)
    ]
    (folder / "s3.json").write_text(json.dumps(_identities(bucket)))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder}"),
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
                *("-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-volume.max=5"),
                *(f"-filer.localSocket={folder}/f", f"-s3.localSocket={folder}/s"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0"),
                *("-master.volumeSizeLimitMB=64", *options),
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield bucket
        finally:
            process.kill()
            process.wait()


def _identities(bucket: Bucket) -> dict[str, object]:
    keys = {"accessKey": bucket.access_key, "secretKey": bucket.secret_key}
    shipped = {**keys, "accessKey": SHIPPED}
    return {
        "identities": [
            {"name": "cardflow", "credentials": [keys], "actions": ["Admin", "Read", "Write"]},
            {"name": SHIPPED, "credentials": [shipped], "actions": rights()},
        ]
    }


def rights() -> list[str]:
    """Return what deploy/make-secrets.sh lets Cardflow do in the bucket."""
    script = (ROOT / "deploy/make-secrets.sh").read_text()
    return re.findall(rf'"(\w+:{BUCKET})"', script)


def client(bucket: Bucket):
    session = boto3.session.Session(bucket.access_key, bucket.secret_key, region_name=bucket.region)
    return session.client("s3", endpoint_url=bucket.url, config=CONFIG)


async def ready(bucket: Bucket):
    """Return a client once the bucket exists and takes objects."""
    made = client(bucket)

    def takes_objects() -> str:
        try:
            made.create_bucket(Bucket=bucket.name)
            made.put_object(Bucket=bucket.name, Key="ready", Body=b"yes")
        except made.exceptions.BucketAlreadyOwnedByYou:
            made.put_object(Bucket=bucket.name, Key="ready", Body=b"yes")
        except (BotoCoreError, ClientError) as error:
            return str(error)
        return ""

    await until(takes_objects, lambda trouble: not trouble, what="the S3 server")
    return made
