"""The people's door with an OpenID provider that nobody here wrote: Canaille, in this process."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from pytest_iam import Server, iam_configuration, iam_server, iam_server_port  # noqa: F401

from cardflow.secret_files import write_secret
from cardflow.settings import Settings
from tests.api.conftest import ORIGIN, PASSWORD, client_of

CALLBACK = f"{ORIGIN}/sign-in/provider/answer"
SECRET = "the client's own secret"  # gitleaks: made for this test


@pytest.fixture(scope="session")
def canaille(iam_server: Server) -> Server:  # noqa: F811
    """Return Canaille, where Cardflow is registered as a client."""
    client = iam_server.models.Client(
        client_id="cardflow",
        client_secret=SECRET,
        client_name="Cardflow",
        redirect_uris=[CALLBACK],
        post_logout_redirect_uris=[f"{ORIGIN}/sign-in"],
        grant_types=["authorization_code"],
        response_types=["code"],
        token_endpoint_auth_method="client_secret_basic",
        scope=["openid", "profile", "email", "groups"],
    )
    iam_server.backend.save(client)
    client.audience = [client]
    iam_server.backend.save(client)
    return iam_server


@pytest.fixture
def at_provider() -> dict[str, Any]:
    """Return settings of this test's own, besides those that name the provider."""
    return {}


@pytest.fixture
def settings(settings: Settings, canaille: Server, at_provider: dict[str, Any]) -> Settings:
    """Return the settings of an installation whose people sign in at Canaille."""
    secret = settings.state_dir / "secrets" / "oidc"
    write_secret(secret, SECRET.encode())
    given = {
        "oidc_issuer": canaille.url.rstrip("/"),
        "oidc_name": "Canaille",
        "oidc_client_id": "cardflow",
        "oidc_client_secret_file": secret,
        "oidc_scopes": "openid profile email groups",
        "oidc_match_claim": "preferred_username",
    }
    return settings.model_copy(update={**given, **at_provider})


@dataclass
class Browser:
    """A browser that is signed in at the provider as somebody, or as nobody."""

    here: httpx2.AsyncClient
    there: httpx2.AsyncClient

    async def leaves(self, path: str = "/sign-in/provider") -> str:
        """Return where Cardflow sends the browser."""
        answer = await self.here.get(path)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    async def returns(self, address: str, login: str = "") -> str:
        """Return where the provider sends the browser back to: path and query.

        With ``login`` the person fills in what the provider asks for on the way.
        """
        answer = await self.there.get(address)
        for _step in range(10):
            location = answer.headers.get("location", "")
            if location.startswith(CALLBACK):
                back = urlsplit(location)
                return f"{back.path}?{back.query}"
            if location:
                answer = await self.there.get(urljoin(str(answer.url), location))
            else:
                typed = {"login": login, "password": PASSWORD}
                answer = await self.there.post(answer.url, data=typed)
        raise AssertionError(answer.text)

    async def signs_in(self, path: str = "/sign-in/provider") -> httpx2.Response:
        """Return Cardflow's answer when the browser is back."""
        return await self.here.get(await self.returns(await self.leaves(path)))

    async def is_known_as(self) -> str:
        """Return whose sign-in the browser has; empty: nobody's."""
        answer = await self.here.get("/api/v1/me")
        return str(answer.json()["login"]) if answer.is_success else ""


@pytest.fixture
async def browser(app: FastAPI):
    """Yield a browser."""
    headers = {"Accept": "text/html"}
    async with client_of(app, headers=headers) as here, httpx2.AsyncClient() as there:
        yield Browser(here, there)


@pytest.fixture
def account(canaille: Server):
    """Return what makes an account at Canaille and signs the browser in as its owner."""
    made = []

    def make(login: str, **claims: Any) -> Any:
        given = {
            "user_name": login,
            "password": PASSWORD,
            "display_name": login,
            "family_name": login.title(),
        }
        user = canaille.models.User(**{"emails": [f"{login}@example.org"], **given, **claims})
        canaille.backend.save(user)
        made.append(user)
        canaille.login(user)
        canaille.consent(user)
        return user

    yield make
    canaille.logout()
    # An access token made in the same second for an account of the same name is the same token,
    # and Canaille would find the one whose owner is gone.
    for gone in [*canaille.backend.query(canaille.models.Token), *made]:
        canaille.backend.delete(gone)
