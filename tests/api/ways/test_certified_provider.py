"""Signing in at a certified provider: npm's oidc-provider, as `make demo-oidc` starts it."""

import asyncio
import re
import shutil
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import pytest

from cardflow.secret_files import write_secret
from cli.ports import free_ports
from tests.api.ways.test_tls import serving
from tests.waiting import until

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).parents[3] / "scripts"
SECRET = "made for this test, and long enough"


@pytest.fixture(scope="session")
async def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory in which the provider's package is installed."""
    directory = tmp_path_factory.mktemp("provider")
    installing = await asyncio.create_subprocess_exec(
        str(SCRIPTS / "demo_oidc.sh"), "install", str(directory)
    )
    assert await installing.wait() == 0
    return directory


@pytest.fixture
def settings(settings, package):
    """Return the settings of an installation whose people sign in at the provider."""
    here, there = free_ports(2)
    secret = settings.state_dir / "secrets" / "oidc"
    write_secret(secret, SECRET.encode())
    return settings.model_copy(
        update={
            "public_url": f"http://localhost:{here}",
            "api_port": here,
            "oidc_issuer": f"http://localhost:{there}",
            "oidc_client_id": "cardflow",
            "oidc_client_secret_file": secret,
            "oidc_scopes": "openid profile",
            "oidc_match_claim": "preferred_username",
        }
    )


@pytest.fixture
async def provider(package, settings):
    """Yield the provider's address."""
    program = shutil.copy(SCRIPTS / "demo_provider.mjs", package)
    port = settings.oidc_issuer.rpartition(":")[2]
    node = await asyncio.create_subprocess_exec(
        "node", program, port, settings.public_url, str(settings.oidc_client_secret_file)
    )
    try:
        async with httpx2.AsyncClient() as client:
            await until(lambda: answers(client, settings.oidc_issuer), what="the provider runs")
        yield settings.oidc_issuer
    finally:
        node.terminate()
        await node.wait()


async def answers(client: httpx2.AsyncClient, issuer: str) -> bool:
    try:
        return (await client.get(f"{issuer}/.well-known/openid-configuration")).is_success
    except httpx2.HTTPError:
        return False


@pytest.fixture
async def browser(provider, app, settings, register):
    """Yield a browser; Hilda and Ben are registered."""
    await register("hilda")
    await register("ben")
    headers = {"Accept": "text/html", "Origin": settings.public_url}
    async with (
        serving(app, settings.api_port),
        httpx2.AsyncClient(headers=headers, timeout=30) as client,
    ):
        yield client


async def walk(browser, address: str, login: str, *, until_at: str) -> httpx2.Response:
    """Follow redirects and fill in forms, as a person does, until the browser is sent there."""
    answer = await browser.get(address)
    for _ in range(20):
        if location := answer.headers.get("location"):
            there = urljoin(str(answer.url), location)
            if there.startswith(until_at):
                return answer
            answer = await browser.get(there)
        else:
            answer = await fill_in(browser, answer, login)
    raise AssertionError(answer.text)


async def fill_in(browser, answer: httpx2.Response, login: str) -> httpx2.Response:
    """Send the page's form with what a person types."""
    action = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
    assert action, answer.text
    hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', answer.text)
    typed = {"login": login, "password": "anything", "logout": "yes"}
    return await browser.post(
        urljoin(str(answer.url), unescape(action[1])), data={**dict(hidden), **typed}
    )


async def sign_in(browser, settings, login: str, path: str = "/sign-in/provider"):
    """Return our answer when the person comes back."""
    back = f"{settings.public_url}/sign-in/provider/answer"
    answer = await walk(browser, settings.public_url + path, login, until_at=back)
    return await browser.get(answer.headers["location"])


async def known_as(browser, settings) -> str:
    answer = await browser.get(f"{settings.public_url}/api/v1/me")
    return str(answer.json()["login"]) if answer.is_success else ""


async def test_a_person_signs_in_and_is_out_when_they_sign_out_there(browser, settings):
    answer = await sign_in(browser, settings, "hilda", "/sign-in/provider?next=/cards")
    before = await known_as(browser, settings)

    # Not by way of us: the provider tells us, server to server.
    page = await browser.get(f"{settings.oidc_issuer}/session/end")
    await fill_in(browser, page, "hilda")

    assert (answer.status_code, answer.headers["location"]) == (303, "/cards")
    assert before == "hilda"
    await until(
        lambda: known_as(browser, settings), lambda login: login == "", what="the sign-in is over"
    )


async def test_a_person_signs_in_anew_though_they_are_signed_in_there(browser, settings):
    await sign_in(browser, settings, "hilda")

    answer = await sign_in(browser, settings, "hilda", "/sign-in/provider?again=true&next=/work")

    assert answer.headers["location"] == "/work"
    assert await known_as(browser, settings) == "hilda"


async def test_signing_out_here_signs_out_there(browser, settings):
    await sign_in(browser, settings, "hilda")

    left = await browser.post(f"{settings.public_url}/sign-out")
    there = unescape(re.search('href="([^"]+/session/end[^"]*)"', left.text)[1])
    answer = await walk(browser, there, "hilda", until_at=f"{settings.public_url}/sign-in")

    assert answer.status_code == 303
    assert await known_as(browser, settings) == ""


async def test_a_stolen_code_is_worth_nothing_without_its_verifier(browser, settings):
    back = f"{settings.public_url}/sign-in/provider/answer"
    begin = f"{settings.public_url}/sign-in/provider"
    first = await walk(browser, begin, "hilda", until_at=back)
    stolen = re.search("code=[^&]+", first.headers["location"])[0]
    own = await walk(browser, begin, "hilda", until_at=back)

    answer = await browser.get(re.sub("code=[^&]+", stolen, own.headers["location"]))

    assert answer.status_code == 401
    assert await known_as(browser, settings) == ""
