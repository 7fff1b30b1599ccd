"""What mails say under a policy, for routes and pages alike: looked at, changed, tried out."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from api.authorize import Caller
from api.problems import FieldProblem, Problem, invalid, not_found, refused
from api.shapes import Out
from api.state import State
from cardflow.db import mail_texts as stored
from cardflow.db.mail_queue import recipients_of
from cardflow.db.register_policies import newest_version
from cardflow.db.tables import MailText
from cardflow.decisions import utc_now
from cardflow.failpoints import effect
from cardflow.mail import texts
from cardflow.mail.compose import LANGUAGES, Composer, build_composer
from cardflow.mail.letters import Text, TextKey
from cardflow.mail.samples import sample_letter
from cardflow.mail.trial import TrialOrder
from cardflow.model import DocumentExchange, MailKind, Policy
from cardflow.policy_toml import stored_policy
from workflows.mail_rounds import MailTrial

TRIAL_PATIENCE = timedelta(seconds=45)


class TextOut(Out):
    """A subject and a body: paragraphs with placeholders."""

    subject: str
    body: str


class OwnTextOut(TextOut):
    """A text of the policy's own."""

    version: int
    updated_by: str
    updated_at: datetime


class PlaceholderOut(Out):
    """What a text can name, and what stands there when the mail is sent."""

    name: str
    meaning: str


class MailTextOut(Out):
    """What mails of one kind say in one language: by default, and under this policy."""

    kind: MailKind
    language: str
    default: TextOut
    own: OwnTextOut | None
    placeholders: list[PlaceholderOut]


class OwnLanguageOut(Out):
    """A language in which a kind of mail has a text of the policy's own."""

    language: str
    version: int
    updated_by: str
    updated_at: datetime


class MailKindOut(Out):
    """A kind of mail: who gets it, whether the policy sends it, where it was changed."""

    kind: MailKind
    recipients: list[str]
    sent: bool
    languages: list[str]
    own: list[OwnLanguageOut]
    placeholders: list[PlaceholderOut]


class PreviewOut(Out):
    """A mail with made-up contents, as it would arrive."""

    language: str
    sender: str
    subject: str
    text: str
    html: str


class TrialOut(Out):
    """What became of a mail that was tried: sent, queued (not taken now) or failed."""

    state: str
    said: str
    address: str
    subject: str


def text_key(policy_name: str, kind: MailKind, language: str) -> TextKey:
    """Return which text is meant, or raise Problem where mails are not written in the language."""
    if language not in LANGUAGES:
        known = ", ".join(sorted(LANGUAGES))
        raise invalid("language", f"mails are not written in {language}", f"there are: {known}")
    return TextKey(policy_name, kind, language)


async def mail_kinds(session: AsyncSession, policy_name: str) -> list[MailKindOut]:
    """Return every kind of mail under the policy, or raise Problem."""
    policy = await _policy(session, policy_name)
    own = await stored.list_texts(session, policy_name)
    return [
        MailKindOut(
            kind=kind,
            recipients=[role.value for role in recipients_of(kind)],
            sent=kind in policy.notifications,
            languages=sorted(LANGUAGES),
            own=[OwnLanguageOut.model_validate(row) for row in own if row.kind == kind],
            placeholders=_placeholders(kind),
        )
        for kind in MailKind
    ]


async def mail_text(session: AsyncSession, state: State, key: TextKey) -> MailTextOut:
    """Return what mails say, or raise Problem."""
    policy = await _policy(session, key.policy_name)
    return _shown(state, policy, key, await stored.find_text(session, key))


async def save_mail_text(
    session: AsyncSession,
    state: State,
    caller: Caller,
    key: TextKey,
    given: Text,
    *,
    seen: int | None = None,
) -> MailTextOut:
    """Leave the text as the policy's own, or raise Problem; ``seen`` is the version it replaces."""
    policy = await _policy(session, key.policy_name)
    text = _checked(state, key.kind, given)
    row = await stored.find_text(session, key)
    version = row.version if row else 0
    if seen not in (None, version):
        raise refused([f"somebody changed this text meanwhile: it is at version {version} now"])
    row = await stored.save_text(session, key, text, by=caller.id, at=utc_now())
    return _shown(state, policy, key, row)


async def delete_mail_text(session: AsyncSession, caller: Caller, key: TextKey) -> None:
    """Leave the policy without a text of its own, or raise Problem."""
    await _policy(session, key.policy_name)
    if row := await stored.find_text(session, key):
        await stored.delete_text(session, row, by=caller.id, at=utc_now())


async def preview_mail_text(
    session: AsyncSession, state: State, key: TextKey, draft: Text
) -> PreviewOut:
    """Return a mail with made-up contents, or raise Problem; an empty draft: what is saved."""
    policy = await _policy(session, key.policy_name)
    text = await _chosen(session, state, key, draft)
    composer = _composer(state)
    said = composer.render(sample_letter(key.kind, key.language, policy, text, utc_now()))
    return PreviewOut(
        language=said.language,
        sender=str(composer.sender),
        subject=said.subject,
        text=said.text,
        html=said.html,
    )


async def trial_of(
    session: AsyncSession, state: State, caller: Caller, key: TextKey, draft: Text
) -> TrialOrder:
    """Return the order of a trial, or raise Problem; an empty draft: what is saved."""
    await _policy(session, key.policy_name)
    text = await _chosen(session, state, key, draft) or Text("", "")
    return TrialOrder(
        person_id=caller.id,
        policy_name=key.policy_name,
        kind=key.kind,
        language=key.language,
        subject=text.subject,
        body=text.body,
    )


async def try_out(client: Client, task_queue: str, order: TrialOrder, trial_id: str) -> TrialOut:
    """Have the worker send it, as it sends every mail, and return what the relay said."""
    name = f"mail-trial/{trial_id}"
    try:
        with effect("api.mail_trial"):
            handle = await client.start_workflow(
                MailTrial.run,
                order,
                id=name,
                task_queue=task_queue,
                execution_timeout=TRIAL_PATIENCE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            )
    except WorkflowAlreadyStartedError:
        handle = client.get_workflow_handle_for(MailTrial.run, name)
    try:
        return TrialOut.model_validate(await handle.result())
    except WorkflowFailureError as error:
        raise Problem(503, "the worker did not send the mail in time; is it running?") from error


async def _policy(session: AsyncSession, name: str) -> Policy:
    version = await newest_version(session, name)
    if version is None:
        raise not_found("policy")
    return stored_policy(version.document, version.version)


async def _chosen(session: AsyncSession, state: State, key: TextKey, draft: Text) -> Text | None:
    if draft.subject or draft.body:
        return _checked(state, key.kind, draft)
    row = await stored.find_text(session, key)
    return Text(row.subject, row.body) if row else None


def _checked(state: State, kind: MailKind, given: Text) -> Text:
    text = texts.tidy(given)
    if found := texts.objections(kind, text, state.settings.public_url):
        errors = [FieldProblem(field=o.field, reason=o.reason, remedy=o.remedy) for o in found]
        detail = "; ".join(f"{error.field}: {error.reason}" for error in errors)
        raise Problem(422, detail, *errors, slug="bad-mail-text")
    return text


def _shown(state: State, policy: Policy, key: TextKey, row: MailText | None) -> MailTextOut:
    outside = policy.document_exchange is DocumentExchange.OUTSIDE
    default = _composer(state).default_text(key.kind, key.language, outside=outside)
    return MailTextOut(
        kind=key.kind,
        language=key.language,
        default=TextOut.model_validate(default),
        own=OwnTextOut.model_validate(row) if row else None,
        placeholders=_placeholders(key.kind),
    )


def _placeholders(kind: MailKind) -> list[PlaceholderOut]:
    return [
        PlaceholderOut(name=name, meaning=texts.MEANINGS[name]) for name in texts.placeholders(kind)
    ]


def _composer(state: State) -> Composer:
    return build_composer(state.settings, state.profiles)
