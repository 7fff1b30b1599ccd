"""What an installation rests on: each thing with what it is for, and how it is looked at."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from api import health_looks
from api.health_looks import Finding
from api.state import State


@dataclass(frozen=True)
class Check:
    """One thing that is looked at, what it is for, and how."""

    name: str
    title: str
    means: str
    look: Callable[[State], Awaitable[Finding]]
    remedy: str  # when nothing answers at all


CHECKS = (
    Check(
        "database",
        "Database",
        "It holds the register, the work lists and the evidence; without it nothing works.",
        health_looks.database,
        "start the database, or correct CARDFLOW_DATABASE_URL",
    ),
    Check(
        "temporal",
        "Temporal",
        "It carries every open update; without it nothing moves, and nothing is lost.",
        health_looks.temporal,
        "start Temporal, or correct CARDFLOW_TEMPORAL_ADDRESS",
    ),
    Check(
        "workers",
        "Workers",
        "They carry out what updates need: they ask the CA, sign certificates and send mail.",
        health_looks.workers,
        "nothing is known of workers while Temporal does not answer",
    ),
    Check(
        "ca",
        "Certificate authority",
        "It issues certificates; an old CRL makes others refuse good ones.",
        health_looks.ca,
        "make it with `cardflow up`, or restore the CA's directory",
    ),
    Check(
        "mail_relay",
        "Mail relay",
        "It takes our mails; while it does not answer, they wait.",
        health_looks.mail_relay,
        "start the mail relay, or correct CARDFLOW_SMTP_HOST and CARDFLOW_SMTP_PORT",
    ),
    Check(
        "mails",
        "Mails",
        "What people are told by mail.",
        health_looks.mails,
        "see the database above",
    ),
    Check(
        "virus_scanner",
        "Virus scanner",
        "It looks at uploads before they are kept.",
        health_looks.scanner,
        "start clamd, or correct CARDFLOW_CLAMD_ADDRESS",
    ),
    Check(
        "store",
        "Document store",
        "It keeps the signed forms.",
        health_looks.store,
        "have its directory written by the account that runs Cardflow",
    ),
    Check(
        "certificates",
        "Certificates of our own",
        "Agents and workflows trust us by them.",
        health_looks.certificates,
        "a file is missing or no certificate; correct the setting that names it",
    ),
    Check(
        "own_address",
        "Our own address",
        "It is where people's browsers find the pages.",
        health_looks.own_address,
        "start the proxy, or correct CARDFLOW_PUBLIC_URL",
    ),
    Check(
        "keys",
        "Keys",
        "They sign decisions and jobs, and encrypt what workflows store.",
        health_looks.keys,
        "have the files read by the account that runs Cardflow",
    ),
    Check(
        "settings",
        "Settings",
        "What the processes were started with.",
        health_looks.settings,
        "correct them, restart",
    ),
    Check(
        "attention",
        "Updates",
        "Those that went wrong and wait for an operator.",
        health_looks.attention,
        "see the database above",
    ),
)
