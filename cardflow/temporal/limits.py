"""How long one run of a workflow may grow, and how long we wait for who may have died."""

from datetime import timedelta

# A worker must replay a run within a workflow task's 10 seconds; the server refuses above 51,200.
EVENTS_PER_RUN = 4_000  # then the update goes on in another run, as soon as all is on record
EVENTS_AT_MOST = 8_000  # then nothing is taken until it does

WORK = timedelta(seconds=30)  # what a worker does while an update waits for it
AFTERWORK = timedelta(minutes=1)
ROUND = timedelta(minutes=5)  # of mails to everybody whose time has come
SILENCE = timedelta(seconds=20)  # of an agent that has a job; it beats every 5 seconds
STICKY = timedelta(seconds=10)  # then another worker takes the workflow over
