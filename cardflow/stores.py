"""Which document store an installation has, and who looks at what goes in."""

from cardflow.documents.scanner import Scanner
from cardflow.documents.store import FileStore, WholeStore
from cardflow.outbound import outbound
from cardflow.secret_files import read_secret
from cardflow.settings import Settings


def store_of(settings: Settings) -> WholeStore:
    """Return the document store that the settings name."""
    if not settings.document_bucket:
        return FileStore(settings.document_dir)
    from cardflow.documents.s3 import Bucket, S3Store  # boto3 is heavy

    file = settings.document_bucket_secret_file
    bucket = Bucket(
        settings.document_bucket,
        settings.document_bucket_url,
        settings.document_bucket_region,
        settings.document_bucket_access_key,
        read_secret(file).decode().strip() if file else "",
    )
    return S3Store(bucket, settings.document_dir / "arriving", outbound(settings).addresses)


def scanner_of(settings: Settings) -> Scanner | None:
    """Return the virus scanner that the settings name, if they name one."""
    address = settings.clamd_address
    return Scanner(address, outbound(settings).connect) if address else None
