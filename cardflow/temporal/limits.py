"""How long one run of a workflow may grow; the server refuses more than 51,200 events."""

EVENTS_PER_RUN = 4_000
