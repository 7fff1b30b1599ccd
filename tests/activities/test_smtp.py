"""What a relay says decides what becomes of a mail, and nothing that it says is an exception."""

import ssl
from email.message import EmailMessage

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from activities.mail.smtp import Fate, Outcome, Relay
from cli.ports import free_ports
from tests.activities.conftest import BESIDE, Catcher, running
from tests.activities.tls import server_context

HERE = "127.0.0.1"


def a_message(to="ada@example.org"):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "cardflow@localhost", to, "Ä subject"
    message.set_content("Hello")
    return message


async def sent(relay, *messages, seconds=5):
    keyed = [(str(n), message) for n, message in enumerate(messages or [a_message()])]
    return list((await relay.send(keyed, seconds=seconds)).values())


def relay_to(catcher, **options):
    return Relay(HERE, catcher.port, BESIDE, **options)


async def test_a_relay_that_says_yes_has_the_mail(catcher):
    assert await sent(relay_to(catcher)) == [Outcome(Fate.SENT)]
    assert catcher.subjects == ["Ä subject"]


@pytest.mark.parametrize(
    ("reply", "fate"),
    [
        ("421 closing", Fate.QUEUED),
        ("450 mailbox busy", Fate.QUEUED),
        ("451 greylisted", Fate.QUEUED),
        ("452 no space", Fate.QUEUED),
        ("550 no such user", Fate.FAILED),
        ("552 quota exceeded", Fate.FAILED),
        ("554 blocked", Fate.FAILED),
    ],
)
@pytest.mark.parametrize("at", ["recipient", "sender", "data"])
async def test_a_refusal_is_final_only_when_the_relay_says_so(catcher, reply, fate, at):
    if at == "recipient":
        catcher.to_recipient["ada@example.org"] = reply
    else:
        setattr(catcher, f"to_{at}", reply)

    assert await sent(relay_to(catcher)) == [Outcome(fate, reply)]


async def test_one_refused_mail_does_not_hold_up_the_others(catcher):
    catcher.to_recipient = {"ben@example.org": "550 gone", "cem@example.org": "451 later"}
    messages = [a_message(f"{name}@example.org") for name in ("ada", "ben", "cem", "dot")]

    outcomes = await sent(relay_to(catcher), *messages)

    fates = [outcome.fate for outcome in outcomes]
    assert fates == [Fate.SENT, Fate.FAILED, Fate.QUEUED, Fate.SENT]
    assert len(catcher.taken) == 2


async def test_an_address_beyond_ascii_is_sent_where_the_relay_can_take_it(catcher):
    assert await sent(relay_to(catcher), a_message("ädä@example.org")) == [Outcome(Fate.SENT)]


async def test_an_address_beyond_ascii_fails_for_good_where_it_cannot():
    async with running(Catcher(), enable_SMTPUTF8=False) as catcher:
        (outcome,) = await sent(relay_to(catcher), a_message("ädä@example.org"))

    assert outcome.fate is Fate.FAILED
    assert "SMTPUTF8" in outcome.reason


async def test_mail_waits_while_nobody_listens():
    (port,) = free_ports(1)
    (outcome,) = await sent(Relay(HERE, port, BESIDE))

    assert outcome.fate is Fate.QUEUED
    assert outcome.reason


async def test_a_relay_that_hangs_is_left_when_the_time_is_over():
    async with running(Catcher(hangs=True)) as catcher:
        outcomes = await sent(relay_to(catcher), a_message(), a_message(), seconds=0.2)

    waits = Outcome(Fate.QUEUED, "the mail relay did not answer within 0.2 s")
    assert outcomes == [waits, waits]


async def test_what_was_sent_before_the_relay_hung_counts_as_sent(catcher):
    class HangsLater(Catcher):
        async def handle_MAIL(self, *arguments):  # noqa: N802 aiosmtpd's name
            self.hangs = bool(self.taken)
            return await super().handle_MAIL(*arguments)

    async with running(HangsLater()) as hanging:
        outcomes = await sent(relay_to(hanging), a_message(), a_message(), seconds=0.5)

    assert [outcome.fate for outcome in outcomes] == [Fate.SENT, Fate.QUEUED]


async def test_mail_waits_when_the_relay_cannot_encrypt_and_must(catcher):
    (outcome,) = await sent(relay_to(catcher, starttls=True))

    assert outcome.fate is Fate.QUEUED
    assert "STARTTLS" in outcome.reason
    assert catcher.taken == []


@pytest.fixture(scope="module")
def tls():
    """The relay's TLS, and the client's that trusts it."""
    return server_context(ec.generate_private_key(ec.SECP256R1()))


async def test_a_relay_that_must_encrypt_and_is_trusted_gets_the_mail(tls):
    theirs, ours = tls
    async with running(Catcher(), tls_context=theirs, require_starttls=True) as catcher:
        assert await sent(relay_to(catcher, starttls=True, tls=ours)) == [Outcome(Fate.SENT)]


async def test_a_relay_whose_certificate_is_not_trusted_gets_nothing(tls):
    theirs, _ = tls
    async with running(Catcher(), tls_context=theirs) as catcher:
        relay = relay_to(catcher, starttls=True, tls=ssl.create_default_context())
        (outcome,) = await sent(relay)

    assert outcome.fate is Fate.QUEUED
    assert "certificate" in outcome.reason.lower()
    assert catcher.taken == []


async def test_the_password_is_shown_to_an_encrypted_relay_only_and_to_nobody_else(tls):
    theirs, ours = tls
    shown = []

    def check(mechanism, login, password):
        shown.append(password)
        return password == b"right"

    options = {"tls_context": theirs, "auth_callback": check, "auth_required": True}
    async with running(Catcher(), **options) as catcher:
        relay = relay_to(catcher, starttls=True, tls=ours, user="cardflow", password="right")
        wrong = relay_to(catcher, starttls=True, tls=ours, user="cardflow", password="wrong")
        assert await sent(relay) == [Outcome(Fate.SENT)]
        (refused,) = await sent(wrong)

    assert refused.fate is Fate.QUEUED
    assert "wrong" not in refused.reason + repr(wrong)
