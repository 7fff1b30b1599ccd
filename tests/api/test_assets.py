"""What a browser loads with a page: our own copies, little of it, under a policy that says so."""

import gzip
import re

import pytest

from api.web.render import HERE
from tests.api.conftest import SignIn

MOST_BYTES = 60_000  # of a first load, compressed
BROWSER = {"Accept": "text/html"}
VENDORED = sorted(path for path in (HERE / "static" / "vendor").iterdir() if path.is_dir())


def loaded_by(html: str) -> list[str]:
    """Return the addresses that a browser fetches with the page."""
    found = re.findall(r'<(?:script|link|img|use)[^>]* (?:src|href)="([^"]+)"', html)
    return sorted({address.partition("#")[0] for address in found})


@pytest.mark.parametrize("path", ["/sign-in", "/cards", "/account"])
async def test_a_first_load_is_small_and_comes_from_us_alone(sign_in: SignIn, path, anonymous):
    client = anonymous if path == "/sign-in" else await sign_in("holly")
    page = await client.get(path, headers=BROWSER)
    assert page.status_code == 200
    addresses = loaded_by(page.text)

    assert all(address.startswith("/static/") for address in addresses)
    assert len(addresses) > 5
    weight = len(gzip.compress(page.content))
    for address in addresses:
        asset = await anonymous.get(address)
        assert asset.status_code == 200, address
        assert "immutable" in asset.headers["cache-control"]
        assert asset.headers.get("content-encoding") == "gzip" or len(asset.content) < 500
        weight += len(gzip.compress(asset.content))
    assert weight <= MOST_BYTES


async def test_scripts_run_under_this_answers_nonce_only(anonymous):
    first, second = [await anonymous.get("/sign-in", headers=BROWSER) for _ in range(2)]

    nonces = [
        re.search(r"'nonce-([^']+)'", a.headers["content-security-policy"]) for a in (first, second)
    ]
    assert all(nonces)
    assert nonces[0][1] != nonces[1][1]
    assert set(re.findall(r'<script nonce="([^"]+)"', first.text)) == {nonces[0][1]}
    assert "<script>" not in first.text
    assert " style=" not in first.text
    assert "require-trusted-types-for 'script'" in first.headers["content-security-policy"]


@pytest.mark.parametrize("folder", VENDORED, ids=lambda path: path.name)
def test_a_licence_stands_beside_what_others_wrote(folder):
    assert [path for path in folder.iterdir() if path.name.startswith("LICENSE")]
