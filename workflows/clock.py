"""Reminders, escalation and the deadline of one update: one durable timer at a time."""

from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from dataclasses import replace

    from cardflow import lifecycle
    from cardflow.model import EventKind, LaneStage, MailKind, Party, Stage, Waiting
    from workflows.case import Case

REMINDED = (Party.HOLDER, Party.OPERATOR, Party.OFFICER)


class Clock:
    """Wakes for the next thing that time itself brings.

    A timer that fires too early is set anew; only what is due earlier than it costs another one.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._seen = case.now

    async def run(self) -> None:
        """Remind, escalate, and let the update lapse at its deadline."""
        while not self._case.is_over:
            await self._sleep_until(self._next())
            self._remind(self._seen, self._case.now)
            self._escalate()
            self._seen = self._case.now
            if self._case.now >= lifecycle.due_at(self._case.update):
                await self._lapse()

    async def _sleep_until(self, instant: datetime) -> None:
        try:
            await workflow.wait_condition(
                lambda: self._next() < instant,
                timeout=max(instant - self._case.now, timedelta(seconds=1)),
                timeout_summary="reminder, escalation or deadline",
            )
        except TimeoutError:
            return

    def _next(self) -> datetime:
        instants = [lifecycle.due_at(self._case.update)]
        if not self._case.state.escalated:
            instants.append(self._escalation_at)
        instants += [self._reminder_after(entry, self._case.now) for entry in self._waiting()]
        return min(instants)

    def _waiting(self) -> list[Waiting]:
        view = self._case.view()
        return [entry for entry in view.waiting if entry.party in REMINDED]

    @property
    def _period(self) -> timedelta:
        return timedelta(hours=self._case.update.policy.reminder_hours)

    def _reminder_after(self, entry: Waiting, instant: datetime) -> datetime:
        return entry.since + ((instant - entry.since) // self._period + 1) * self._period

    def _remind(self, after: datetime, now: datetime) -> None:
        for entry in self._waiting():
            if self._reminder_after(entry, max(after, entry.since)) <= now:
                facts = {"party": entry.party.value, "what": entry.what}
                self._case.note(
                    EventKind.REMINDER, lane=entry.lane, facts=facts, mail=MailKind.REMINDER
                )

    @property
    def _escalation_at(self) -> datetime:
        hours = self._case.update.policy.escalation_hours
        return self._case.update.opened_at + timedelta(hours=hours)

    def _escalate(self) -> None:
        if self._case.state.escalated or self._case.now < self._escalation_at:
            return
        self._case.state = replace(self._case.state, escalated=True)
        waiting = ", ".join(f"{x.party}: {x.what}" for x in self._case.view().waiting)
        self._case.note(EventKind.ESCALATION, facts={"waiting": waiting}, mail=MailKind.ESCALATION)

    async def _lapse(self) -> None:
        """End the update; a visit that is running may finish first, it takes minutes at most."""
        await workflow.wait_condition(lambda: self._case.state.visit is None or self._case.is_over)
        if self._case.is_over:
            return
        reason = "the deadline passed"
        case = self._case
        case.state = lifecycle.undone(case.state, LaneStage.LAPSED, reason, case.now)
        case.state = replace(case.state, ended=Stage.LAPSED, ended_because=reason)
