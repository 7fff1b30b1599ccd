"""What Temporal may know in clear about an update: ids and words, never personal data."""

from datetime import datetime

from temporalio.common import SearchAttributeKey

CARD_ID = SearchAttributeKey.for_keyword("CardId")
HOLDER_ID = SearchAttributeKey.for_keyword("HolderId")
STAGE = SearchAttributeKey.for_keyword("Stage")
WAITING_FOR = SearchAttributeKey.for_keyword("WaitingFor")
POLICY = SearchAttributeKey.for_keyword("Policy")
CA = SearchAttributeKey.for_keyword("CA")
DUE_AT = SearchAttributeKey.for_datetime("DueAt")

SEARCH_ATTRIBUTES: tuple[SearchAttributeKey[str] | SearchAttributeKey[datetime], ...] = (
    CARD_ID,
    HOLDER_ID,
    STAGE,
    WAITING_FOR,
    POLICY,
    CA,
    DUE_AT,
)
