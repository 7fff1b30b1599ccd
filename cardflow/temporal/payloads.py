"""Every payload in what Temporal keeps, wherever it stands."""

from collections.abc import Iterator

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload


def payloads_in(message: Message) -> Iterator[Payload]:
    """Yield every payload anywhere in a message."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        is_map = field.message_type.GetOptions().map_entry
        parts = value.values() if is_map else value if field.is_repeated else [value]
        for part in parts:
            if isinstance(part, Message):
                yield from payloads_in(part)
