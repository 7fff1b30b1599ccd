"""What administrators have mails say: one text per policy, kind and language."""

import hashlib
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from cardflow.db import audit
from cardflow.db.tables import MailText
from cardflow.mail.letters import Text, TextKey


async def list_texts(session: AsyncSession, policy_name: str) -> list[MailText]:
    """Return every text of the policy."""
    query = select(MailText).where(col(MailText.policy_name) == policy_name)
    order = col(MailText.kind), col(MailText.language)
    return list((await session.scalars(query.order_by(*order))).all())


async def find_text(session: AsyncSession, key: TextKey) -> MailText | None:
    """Return the text, if the policy has one of its own."""
    return await session.get(MailText, (key.policy_name, key.kind, key.language))


async def texts_for(session: AsyncSession, policy_name: str, kind: str) -> dict[str, Text]:
    """Return the policy's own texts for a kind of mail, by language."""
    rows = await list_texts(session, policy_name)
    return {row.language: Text(row.subject, row.body) for row in rows if row.kind == kind}


async def save_text(
    session: AsyncSession, key: TextKey, text: Text, *, by: str, at: datetime
) -> MailText:
    """Leave the text as its next version, and on the audit trail that it was saved."""
    row = await find_text(session, key)
    if row is None:
        row = MailText(
            policy_name=key.policy_name,
            kind=key.kind,
            language=key.language,
            subject=text.subject,
            body=text.body,
            version=0,
            updated_by=by,
            updated_at=at,
        )
        session.add(row)
    row.subject, row.body, row.version = text.subject, text.body, row.version + 1
    row.updated_by, row.updated_at = by, at
    await session.flush()
    await _remember(session, "mail_text_saved", row, by, at)
    return row


async def delete_text(session: AsyncSession, row: MailText, *, by: str, at: datetime) -> None:
    """Let the mails say our own words again; the audit trail keeps that they did not."""
    await session.delete(row)
    await session.flush()
    await _remember(session, "mail_text_deleted", row, by, at)


async def _remember(session: AsyncSession, kind: str, row: MailText, by: str, at: datetime) -> None:
    facts = {
        "policy": row.policy_name,
        "kind": row.kind,
        "language": row.language,
        "version": row.version,
        "sha256": hashlib.sha256(f"{row.subject}\n{row.body}".encode()).hexdigest(),
    }
    await audit.append(session, audit.Entry(kind, at, actor=by, facts=facts))
