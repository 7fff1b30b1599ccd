"""What relying parties fetch from the embedded CA: CRLs, CA certificates, OCSP replies."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from api.auth import anybody
from api.problems import Problem, public_problems
from api.routing import GuardedRoute
from api.state import Authority

CRL = "application/pkix-crl"
CERTIFICATE = "application/pkix-cert"
OCSP_REQUEST = "application/ocsp-request"
OCSP_RESPONSE = "application/ocsp-response"
LONGEST_REQUEST = 4_096
BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"  # RFC 4648 4
# Short: a revocation must be seen soon although CRL and replies are valid for longer.
CACHED = "public, max-age=300, no-transform, must-revalidate"
BINARY = {"schema": {"type": "string", "format": "binary"}}

router = APIRouter(
    prefix="/pki", tags=["pki"], route_class=GuardedRoute, dependencies=[Depends(anybody)]
)


def answers(media_type: str, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that gives bytes of one kind."""
    return {200: {"content": {media_type: BINARY}}, **public_problems(503, *statuses)}


@router.get("/crl", operation_id="fetch_crl", response_class=Response, responses=answers(CRL))
async def fetch_crl(authority: Authority) -> Response:
    """Return the issuing CA's newest CRL, DER."""
    return _bytes(await authority.crl_der(), CRL)


@router.get(
    "/ca.cer", operation_id="fetch_ca", response_class=Response, responses=answers(CERTIFICATE)
)
async def fetch_ca(authority: Authority) -> Response:
    """Return the issuing CA's certificate, DER."""
    return _bytes(authority.issuing_certificate_der(), CERTIFICATE)


@router.get(
    "/root.cer", operation_id="fetch_root", response_class=Response, responses=answers(CERTIFICATE)
)
async def fetch_root(authority: Authority) -> Response:
    """Return the root's certificate, DER."""
    return _bytes(authority.root_certificate_der(), CERTIFICATE)


@router.get(
    "/root.crl", operation_id="fetch_root_crl", response_class=Response, responses=answers(CRL)
)
async def fetch_root_crl(authority: Authority) -> Response:
    """Return the root's CRL, DER."""
    return _bytes(authority.root_crl_der(), CRL)


@router.post(
    "/ocsp",
    operation_id="ask_ocsp",
    response_class=Response,
    responses=answers(OCSP_RESPONSE, 413, 415, 422),
    openapi_extra={"requestBody": {"required": True, "content": {OCSP_REQUEST: BINARY}}},
    max_body_size=LONGEST_REQUEST,
)
async def ask_ocsp(request: Request, authority: Authority) -> Response:
    """Return the status of a certificate (RFC 6960)."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != OCSP_REQUEST:
        raise Problem(415, f"send the request as {OCSP_REQUEST}")
    reply = await authority.ocsp_response(await request.body())
    return Response(reply, media_type=OCSP_RESPONSE)


@router.get(
    "/ocsp/{request:path}",
    operation_id="ask_ocsp_by_get",
    response_class=Response,
    responses=answers(OCSP_RESPONSE, 404, 422),
)
async def ask_ocsp_by_get(
    encoded: Annotated[str, Path(alias="request", max_length=LONGEST_REQUEST, pattern=BASE64)],
    authority: Authority,
) -> Response:
    """Return the status of a certificate; the request is base64 in the address (RFC 6960 A.1)."""
    asked = base64.b64decode(encoded, validate=True)
    return _bytes(await authority.ocsp_response(asked), OCSP_RESPONSE)


def _bytes(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers={"Cache-Control": CACHED})
