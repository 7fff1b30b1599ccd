"""What travels through workflow history and to agents: plain, frozen, and without a secret."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

import activities.orders
import cardflow.jobs
import cardflow.mail.trial
import cardflow.model

SECRETS = {"pin", "puk", "secret", "password", "passphrase", "passwords", "pins"}
PLAIN = (str, int, bool, datetime, UUID, types.NoneType)
CONTAINERS = (tuple, list, dict)


def payloads() -> list[type]:
    modules = (cardflow.model, cardflow.jobs, cardflow.mail.trial, activities.orders)
    members = (member for module in modules for _, member in inspect.getmembers(module))
    return sorted(
        {member for member in members if inspect.isclass(member) and is_ours(member)},
        key=lambda payload: payload.__name__,
    )


def is_ours(member: type) -> bool:
    return dataclasses.is_dataclass(member) and not member.__module__.startswith("temporalio")


def leaves(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation is made of."""
    if annotation is Ellipsis:
        return
    origin = typing.get_origin(annotation)
    if origin is None:
        yield annotation
        return
    if origin not in (typing.Union, types.UnionType):
        yield origin
    for argument in typing.get_args(annotation):
        yield from leaves(argument)


def is_allowed(leaf: Any) -> bool:
    if not inspect.isclass(leaf):
        return False
    is_word = issubclass(leaf, StrEnum)
    return is_word or leaf in PLAIN or leaf in CONTAINERS or dataclasses.is_dataclass(leaf)


@pytest.mark.parametrize("payload", payloads(), ids=lambda payload: payload.__name__)
def test_payloads_are_frozen_plain_and_hold_no_secret(payload: type) -> None:
    hints = typing.get_type_hints(payload)

    assert payload.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert [name for name in hints if name.split("_")[-1] in SECRETS] == []
    assert [
        (name, leaf) for name in hints for leaf in leaves(hints[name]) if not is_allowed(leaf)
    ] == []


def test_there_are_payloads_to_look_at() -> None:
    assert cardflow.model.UpdateInput in payloads()
    assert cardflow.jobs.JobResult in payloads()
