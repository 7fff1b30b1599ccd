"""One open update in the hands of its workflow: what is known, and what is still to be recorded."""

from collections.abc import Mapping
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from dataclasses import replace

    from cardflow import lifecycle
    from cardflow.model import (
        Event,
        EventKind,
        Lane,
        MailKind,
        ObjectRef,
        UpdateInput,
        UpdateState,
        UpdateView,
    )


class Case:
    """The update's input, its state, and the events that were not yet published."""

    def __init__(self, update: UpdateInput) -> None:
        self.update = update
        self.state: UpdateState = update.resumed or lifecycle.begin(update)
        self.unpublished: list[Event] = []
        self.draining = False  # continue-as-new is near: everything that waits lets go
        self.closing = False  # the last events belong together

    @property
    def may_publish(self) -> bool:
        """Whether there is news and no visit or closing that will soon bring more of it."""
        # A visit that was clicked while we drain begins in the next run only.
        more_to_come = self.closing or (self.state.visit is not None and not self.draining)
        return bool(self.unpublished) and not more_to_come

    @property
    def now(self) -> datetime:
        """The workflow's instant."""
        return workflow.now()

    def lane(self, name: str) -> Lane:
        """Return the lane as it stands now."""
        return lifecycle.lane_of(self.state, name)

    def view(self) -> UpdateView:
        """Return the whole state as people see it."""
        return lifecycle.view(self.update, self.state)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left but to close."""
        return (
            self.state.ended is not None or lifecycle.outcome(self.update, self.state) is not None
        )

    def note(
        self,
        kind: EventKind,
        *,
        lane: str = "",
        actor: str = "",
        facts: Mapping[str, str] | None = None,
        refs: tuple[ObjectRef, ...] = (),
        token: str = "",
        mail: MailKind | None = None,
    ) -> None:
        """Remember an event for publication; if it made the update ready, its mail says so."""
        number = self.state.events + 1
        ready = self._has_just_become_ready()
        self.state = replace(
            self.state, events=number, ready_since=self.now if ready else self.state.ready_since
        )
        event = Event(number, kind, self.now, lane, actor, dict(facts or {}), refs, token, mail,
                      ready and mail is not None)  # fmt: skip
        self.unpublished.append(event)
        if ready and mail is None:
            self.note(EventKind.READY, mail=MailKind.READY_TO_CONTINUE)

    def _has_just_become_ready(self) -> bool:
        return (
            self.state.ready_since is None
            and self.state.visit is None
            and self.state.ended is None
            and lifecycle.is_ready(self.state)
        )
