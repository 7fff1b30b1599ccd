"""The two doors as ASGI applications: one for people and services, one for card agents.

Neither answers the other's addresses.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from api import (
    account,
    agent_admin,
    agent_forms,
    agent_keys,
    agents,
    audit,
    audit_checks,
    audit_table,
    authority,
    ca,
    card_updates,
    cards,
    certificates,
    codec,
    contents,
    document_pages,
    documents,
    evidence,
    facts,
    form_mailing,
    health,
    health_details,
    identities,
    lost_cards,
    mail_log,
    mails,
    people,
    pki,
    policies,
    policy_preview,
    second_factor,
    session,
    signatures,
    tokens,
    updates,
    work,
)
from api.description import describe
from api.docs_page import show_description
from api.observing import Observed
from api.problems import Shown, as_document, install_problems
from api.security import (
    CrossOriginProtection,
    ProblemWhenTooLarge,
    SecurityHeaders,
    SharedWithOrigin,
)
from api.state import State, opened
from api.web import account as account_pages
from api.web import agents as agent_pages
from api.web import (
    auditor,
    codes,
    desk,
    entrance,
    errors,
    holders,
    imports,
    issued,
    live,
    losses,
    my_cards,
    officer,
    one_update,
    papers,
    policy_drafts,
    policy_mails,
    register,
    together,
    updating,
    ways,
)
from api.web import health as health_pages
from api.web import people as people_pages
from api.web import policies as policy_pages
from api.web import tokens as token_pages
from api.web.static_files import serve_files
from cardflow.settings import Settings

PREFIX = "/api/v1"
PEOPLES = (
    session, account, second_factor, people, identities, tokens, cards, lost_cards, contents,
    card_updates, updates, facts,
    work,
    mails,  # before policies, whose versions its address looks like
    policies, policy_preview, authority, ca, certificates, agent_admin, audit, audit_checks,
    audit_table, mail_log, evidence, signatures, document_pages, form_mailing, health_details,
)  # fmt: skip
PAGES = (
    entrance, ways, live, account_pages, codes, my_cards, losses, updating, one_update,
    desk, together, papers, register, holders, officer, issued, auditor,
    people_pages, imports, policy_drafts, policy_mails, policy_pages,
    agent_pages, health_pages, token_pages,
)  # fmt: skip
BODY_LIMIT = 64 * 1024
Opener = Callable[[Settings], AbstractAsyncContextManager[State]]


def create_app(settings: Settings, open_state: Opener = opened) -> FastAPI:
    """Return the people's door."""
    app = _door("Cardflow", settings, open_state, errors.shown)
    for module in PEOPLES:
        _include(app, module.router, PREFIX)
    uploads = settings.upload_limit_bytes + BODY_LIMIT
    _include(app, documents.router, PREFIX, limit=uploads)
    for module in PAGES:
        _include(app, module.router, limit=uploads)
    _include(app, codec.router, limit=codec.LONGEST_BYTES)
    _include(app, pki.router)
    _include(app, health.router)
    show_description(app)
    serve_files(app)
    shared = {codec.PATH: ui} if (ui := settings.temporal_ui_url) else {}
    app.add_middleware(
        CrossOriginProtection, trusted=[settings.public_url], shared=shared, shown=errors.shown
    )
    https = settings.public_url.startswith("https:")
    _frame(app, errors.shown, https=https, shared=shared)
    return app


def create_agent_app(settings: Settings, open_state: Opener = opened) -> FastAPI:
    """Return the agent door."""
    app = _door("Cardflow agent door", settings, open_state, as_document)
    _include(app, agents.router)
    _include(app, agent_keys.router)
    # Base64 makes four of three bytes, and a card's signature adds little to a form.
    _include(app, agent_forms.router, limit=settings.upload_limit_bytes * 2)
    _frame(app, as_document, https=True)
    return app


def _door(title: str, settings: Settings, open_state: Opener, shown: Shown) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_state(settings) as state:
            app.state.cardflow = state
            yield

    app = FastAPI(
        title=title,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
    )
    install_problems(app, shown)
    describe(app)
    return app


def _include(app: FastAPI, router: APIRouter, prefix: str = "", *, limit: int = BODY_LIMIT) -> None:
    # The limit sits on routers, not on the app: the app's own would answer outside of our frame.
    app.include_router(router, prefix=prefix, max_body_size=limit)


def _frame(
    app: FastAPI, shown: Shown, *, https: bool, shared: Mapping[str, str] | None = None
) -> None:
    app.add_middleware(ProblemWhenTooLarge, shown=shown)
    if shared:
        app.add_middleware(SharedWithOrigin, shared=shared)
    app.add_middleware(SecurityHeaders, https=https)
    app.add_middleware(Observed)


def operation_id(route: APIRoute) -> str:
    """Return the name under which a client knows the operation."""
    return route.operation_id or route.name
