"""The JSON texts of an update's row, read back into the words of the model."""

import json

from cardflow.db.tables import AuditEntry, Update
from cardflow.model import Event, UpdateInput, UpdateView
from cardflow.wire import from_json, to_json


def input_of(row: Update) -> UpdateInput:
    """Return what the update was started with."""
    return from_json(UpdateInput, json.loads(row.input))


def view_of(row: Update) -> UpdateView:
    """Return the update's (slim) state as it was last published."""
    return from_json(UpdateView, json.loads(row.view))


def event_of(entry: AuditEntry) -> Event:
    """Return the event that an entry of the audit trail put on record."""
    told = json.loads(entry.text)
    return from_json(Event, told["facts"])


def text_of(value: object) -> str:
    """Return a dataclass as the JSON text that a row keeps."""
    return json.dumps(to_json(value), separators=(",", ":"), ensure_ascii=False)
