"""schemathesis before a door: what it sends, what it must find true, and what no schema can say."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from fastapi import FastAPI
from requests import PreparedRequest
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import (
    EngineEvent,
    FatalError,
    NonFatalError,
    ScenarioFinished,
)

REFUSALS = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 429]  # 413: too long to be looked at
ALL_CHECKS = {
    "enabled": True,
    "max_response_time": 25,
    "negative_data_rejection": {"expected-statuses": REFUSALS},
}

# Valid as a shape, and yet not acceptable: why no schema could say so, by operation and field.
BY_CHANCE_A_ZONE = {"body.time_zone": "the zones are those of the system"}
FOR_ANYBODY = {"holder_id": "there must be such a person", "policy_name": "and such a policy"}
CSV = {"body": "it is CSV, not JSON"}
TOML = {"body": "it is TOML, not JSON"}
OWN_KEY = {"public_key": "it is a key's own bytes", "proof": "only the key itself makes it"}
MEANINGS: dict[str, dict[str, str]] = {
    "PATCH /api/v1/me": BY_CHANCE_A_ZONE,
    "PUT /api/v1/me/password": {
        "old": "it is the person's own password",
        "new": "it may repeat itself too much",
    },
    "POST /api/v1/me/second-factor/confirm": {"code": "only the app that makes codes knows it"},
    "POST /api/v1/people": BY_CHANCE_A_ZONE,
    "PATCH /api/v1/people/{person_id}": BY_CHANCE_A_ZONE,
    "POST /api/v1/agents/{agent_id}/confirm": {"words": "only the workstation shows them"},
    "POST /api/v1/people/{person_id}/password": {"password": "it may repeat itself too much"},
    "POST /api/v1/people/import": CSV,
    "POST /api/v1/tokens": {"roles": "nobody gives a token more than they have"},
    "POST /api/v1/cards": FOR_ANYBODY,
    "PATCH /api/v1/cards/{card_id}": FOR_ANYBODY,
    "POST /api/v1/cards/import": CSV,
    "POST /api/v1/cards/{card_id}/clear": {"confirm": "it is the card's serial, typed again"},
    "POST /api/v1/policies": TOML,
    "POST /api/v1/policies/preview": TOML,
    "POST /api/v1/policies/dry-run": TOML,
    "PUT /agent/v1/presence": {"tokens": "no two of them have one serial number"},
    "POST /agent/v1/enrolments": OWN_KEY,
    "POST /agent/v1/device-key": OWN_KEY,
}
# The same for parameters that are one thing in all operations which declare them.
WHEREVER_DECLARED = {
    "cursor": "only this list can have given it",
    "Idempotency-Key": "it was used for another request before",
}
# The same, where a text is a language of its own.
LANGUAGES = {
    "urn:cardflow:problem:bad-policy": {
        "POST /api/v1/policies",
        "POST /api/v1/policies/preview",
        "POST /api/v1/policies/dry-run",
    },
    "urn:cardflow:problem:bad-mail-text": {
        "PUT /api/v1/policies/{name}/mails/{kind}/{language}",
        "POST /api/v1/policies/{name}/mails/{kind}/{language}/preview",
        "POST /api/v1/policies/{name}/mails/{kind}/{language}/test",
    },
}


@schemathesis.serializer("application/toml", "application/ocsp-request")
def as_it_is(_context: Any, value: Any) -> bytes:
    """Return a body that is no JSON: text or bytes."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@dataclass
class Judgement:
    """What was asked of each operation, and everything that was wrong."""

    asked: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def hear(self, event: EngineEvent) -> None:
        """Take in what the engine says."""
        if isinstance(event, NonFatalError | FatalError):
            self.wrong.append(f"{getattr(event, 'label', '')}: {getattr(event, 'value', event)}")
        if isinstance(event, ScenarioFinished):
            self._hear_of(event)

    def _hear_of(self, event: ScenarioFinished) -> None:
        answers = {
            case: one.response for case, one in event.recorder.interactions.items() if one.response
        }
        self.asked[event.label or ""] += len(answers)
        self.statuses.update(answer.status_code for answer in answers.values())
        for case, checks in event.recorder.checks.items():
            for check in checks:
                if check.status is Status.FAILURE and check.failure_info:
                    info, answer = check.failure_info, answers.get(case)
                    self.wrong.append(
                        f"{check.name} | {event.label} | {info.failure.title}\n"
                        f"  {info.failure.message[:400]!r}\n  {info.code_sample[:1000]}\n"
                        f"  {answer and answer.status_code} {answer and answer.content[:400]!r}"
                    )


@dataclass(frozen=True)
class Asker:
    """Somebody who asks: how they sign, and what lets them in again after a sign-out."""

    headers: dict[str, str] = field(default_factory=dict)
    sign: Callable[[PreparedRequest], PreparedRequest] | None = None
    restore: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True)
class Round:
    """How much is asked, and from which seed."""

    examples: int
    phases: tuple[str, ...]
    seed: int


async def judge(app: FastAPI, address: str, asker: Asker, asked: Round) -> Judgement:
    """Return what schemathesis finds when ``asker`` asks everything that the description offers."""
    loop = asyncio.get_running_loop()

    def ask() -> Judgement:
        judgement = Judgement()
        for event in from_schema(_schema(app, address, asker, asked, loop)).execute():
            judgement.hear(event)
        return judgement

    return await asyncio.to_thread(ask)


def _schema(
    app: FastAPI, address: str, asker: Asker, asked: Round, loop: asyncio.AbstractEventLoop
) -> Any:
    schema = schemathesis.openapi.from_dict(app.openapi(), config=_config(address, asker, asked))
    schema.hook("filter_failure")(_by_shape)
    if asker.sign:
        schema.auth.set_from_requests(asker.sign)
    if restore := asker.restore:

        def after_call(_context: Any, case: Any, response: Any) -> None:
            if case.method != "GET" and response.status_code < 300:
                asyncio.run_coroutine_threadsafe(restore(), loop).result(30)

        schema.hook(after_call)
    return schema


def _config(address: str, asker: Asker, asked: Round) -> SchemathesisConfig:
    phases = ("examples", "coverage", "fuzzing", "stateful")
    return SchemathesisConfig.from_dict(
        {
            "base-url": address,
            "headers": asker.headers,
            "seed": asked.seed,
            "workers": 1,
            "continue-on-failure": True,
            "request-timeout": 30,
            "parameters": {"query.wait": 2},  # the shortest that an agent may wait for a job
            "generation": {
                "max-examples": asked.examples,
                "database": "none",
                "no-shrink": True,
            },
            "checks": ALL_CHECKS,
            # What tells whether all parts answer in time may say no on a machine that is busy.
            "operations": [
                {"include-path": "/readyz", "checks": {"not_a_server_error": {"enabled": False}}}
            ],
            "phases": {name: {"enabled": name in asked.phases} for name in phases},
        }
    )


def _by_shape(_context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Keep a failure, unless what was valid as a shape is refused for what it means."""
    if "" in (case.path_parameters or {}).values():  # from an answer: it makes another address
        return False
    if "Schema-violating request accepted" in failure.title and "`maxLength`" in failure.message:
        return not _has_space_around(case.body)  # which is cut off before anything is measured
    if "Schema-valid request rejected" not in failure.title or response.status_code != 422:
        return True
    told, label = json.loads(response.content), case.operation.label
    # A part of the address is chosen by its description, unless an earlier answer gave it.
    fields = {error["field"] for error in told["errors"] if not error["field"].startswith("path.")}
    in_words = label in LANGUAGES.get(told["type"], ())
    return not in_words and not (told["errors"] and fields <= excused(case.operation))


def _has_space_around(body: Any) -> bool:
    texts = body.values() if isinstance(body, dict) else ()
    return any(isinstance(text, str) and text != text.strip() for text in texts)


def excused(operation: Any) -> set[str]:
    """Return the fields that may be refused there although their shape is right."""
    declared = {parameter.name for parameter in operation.iter_parameters()}
    return {*MEANINGS.get(operation.label, ()), *(declared & WHEREVER_DECLARED.keys())}
