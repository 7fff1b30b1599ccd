"""The description of the API can be read in a browser, from our own files alone."""

import re

import httpx2

from api.docs_page import FILES


async def test_the_page_and_its_files_are_served_under_a_strict_policy(
    anonymous: httpx2.AsyncClient,
) -> None:
    page = await anonymous.get("/docs/")
    assert page.status_code == 200
    names = re.findall(r'(?:src|href)="([^":]+)"', page.text)
    assert names == ["swagger-ui.css", "swagger-ui-bundle.js", "start.js"]
    for name in names:
        answer = await anonymous.get(f"/docs/{name}")
        assert answer.status_code == 200
        assert "script-src 'self';" in answer.headers["content-security-policy"]


def test_the_licence_stands_beside_the_vendored_files() -> None:
    assert "Apache License" in (FILES / "LICENSE").read_text()
