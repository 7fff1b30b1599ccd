"""One way to connect to Temporal: encrypted, quiet, and with our logger."""

import dataclasses
import logging
from functools import cache
from pathlib import Path

from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import GrpcCompression, TLSConfig

from cardflow.errors import Unavailable
from cardflow.key_ring import KeyFile, Ring
from cardflow.settings import Settings
from cardflow.temporal.codec import WaryCodec
from cardflow.temporal.foreign import WaryFailureConverter, WaryPayloadConverter


async def connect(settings: Settings, *, metrics: bool = False) -> Client:
    """Return a client that encrypts everything it stores, failures included.

    With ``metrics`` the process serves Prometheus metrics, its own and Temporal's, at the
    worker's metrics address.
    """
    host = settings.temporal_address.rpartition(":")[0]
    at = f"{settings.worker_metrics_host}:{settings.worker_metrics_port}" if metrics else ""
    try:
        return await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            data_converter=data_converter(KeyFile(settings.codec_key_file)),
            runtime=runtime(at, core_level="DEBUG" if settings.log_level == "debug" else "WARN"),
            tls=_tls(settings),
            # On one machine compression costs processor time and saves nothing.
            grpc_compression=GrpcCompression.NONE if _is_local(host) else GrpcCompression.GZIP,
        )
    except RuntimeError as error:
        message = f"Temporal does not answer at {settings.temporal_address}; is it running?"
        raise Unavailable(message) from error


def data_converter(ring: Ring) -> DataConverter:
    """Return the converter that every client and worker of Cardflow uses."""
    return dataclasses.replace(
        DataConverter.default,
        payload_codec=WaryCodec(ring),
        payload_converter_class=WaryPayloadConverter,
        failure_converter_class=WaryFailureConverter,
    )


@cache
def runtime(metrics_address: str = "", *, core_level: str = "WARN") -> Runtime:
    """Return this process's runtime; its log lines go to our logger instead of standard output."""
    forwarding = LogForwardingConfig(logger=logging.getLogger("temporal"))
    levels = TelemetryFilter(core_level=core_level, other_level="ERROR")
    return Runtime(
        telemetry=TelemetryConfig(
            logging=LoggingConfig(filter=levels, forwarding=forwarding),
            metrics=PrometheusConfig(bind_address=metrics_address) if metrics_address else None,
        )
    )


def _tls(settings: Settings) -> TLSConfig | None:
    if settings.temporal_root_file is None:
        return None
    return TLSConfig(
        server_root_ca_cert=settings.temporal_root_file.read_bytes(),
        client_cert=_bytes(settings.temporal_certificate_file),
        client_private_key=_bytes(settings.temporal_key_file),
    )


def _bytes(path: Path | None) -> bytes | None:
    return path.read_bytes() if path else None


def _is_local(host: str) -> bool:
    return host in {"127.0.0.1", "localhost", "[::1]"}
