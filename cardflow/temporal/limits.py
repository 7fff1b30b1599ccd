"""How long one run of a workflow may grow, and how long we wait for who may have died."""

from datetime import timedelta

EVENTS_PER_RUN = 4_000  # the server refuses more than 51,200

WORK = timedelta(seconds=30)  # what a worker does while an update waits for it
AFTERWORK = timedelta(minutes=1)
ROUND = timedelta(minutes=5)  # of mails to everybody whose time has come
SILENCE = timedelta(seconds=20)  # of an agent that has a job; it beats every 5 seconds
STICKY = timedelta(seconds=10)  # then another worker takes the workflow over
