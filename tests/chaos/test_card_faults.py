"""A fault at every PKCS#11 call that a visit makes, on SoftHSM: the update ends as if undisturbed.

A case names the job during which the fault happens, the function, which of its calls, and the
effect: an error instead of the call or after it, a kill before it, after it or within it.
"""

from dataclasses import dataclass

import pytest

from cardflow.jobs import IssuedForm, in_pieces, whole
from tests.agent.desk import ref_of
from tests.chaos.instruments import judging
from tests.chaos.instruments.cards import Card, Errand, compiled_shim, furnished
from tests.chaos.instruments.zygote import Zygote
from tests.documents.build import form

pytestmark = pytest.mark.softhsm

# What a visit reaches in each job: once, or so often that its first and last call differ.
ONCE, OFTEN = ("first",), ("first", "last")
SEARCHING = dict.fromkeys(
    ("C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue"), OFTEN
)
REACHED = {
    "prepare": {
        "C_Initialize": ONCE,
        "C_GetInfo": ONCE,
        "C_GetSlotList": OFTEN,
        "C_GetSlotInfo": OFTEN,
        "C_GetTokenInfo": OFTEN,
        "C_GetMechanismInfo": OFTEN,
        "C_OpenSession": ONCE,
        "C_Login": ONCE,
        **SEARCHING,
        "C_DestroyObject": OFTEN,
        "C_GenerateKeyPair": ONCE,
        "C_SignInit": OFTEN,
        "C_Sign": OFTEN,
    },
    "write": {
        "C_GetSlotList": OFTEN,
        "C_GetSlotInfo": OFTEN,
        "C_GetTokenInfo": OFTEN,
        "C_GetMechanismInfo": ONCE,
        **SEARCHING,
        "C_SignInit": OFTEN,
        "C_Sign": OFTEN,
        "C_CreateObject": ONCE,
    },
    "clean_up": {
        "C_GetSlotList": OFTEN,
        "C_GetSlotInfo": OFTEN,
        "C_GetTokenInfo": OFTEN,
        "C_GetMechanismInfo": ONCE,
        **SEARCHING,
        "C_SignInit": ONCE,
        "C_Sign": OFTEN,
        "C_DestroyObject": OFTEN,
    },
    "end": {"C_Logout": ONCE, "C_CloseSession": ONCE},
}
# What the process that watches a reader reaches, without a PIN; and a signature over a form.
LOOKING = (
    *("C_Initialize", "C_GetInfo", "C_GetSlotList", "C_GetSlotInfo", "C_GetTokenInfo"),
    *("C_GetMechanismInfo", "C_OpenSession", "C_FindObjectsInit", "C_FindObjects"),
    *("C_FindObjectsFinal", "C_GetAttributeValue", "C_CloseSession", "C_Finalize"),
)
SIGNING = ("C_Login", *SEARCHING, "C_SignInit", "C_Sign", "C_CloseSession")
EFFECTS = ("before", "after", "die", "died")
ERRORS = {  # PKCS#11 v2.40, 11.1
    "CKR_DEVICE_REMOVED": 0x32,
    "CKR_DEVICE_ERROR": 0x30,
    "CKR_SESSION_HANDLE_INVALID": 0xB3,
    "CKR_TOKEN_NOT_PRESENT": 0xE0,
    "CKR_DEVICE_MEMORY": 0x31,
    "CKR_USER_NOT_LOGGED_IN": 0x101,
    "CKR_GENERAL_ERROR": 0x05,
}
WRITING = {"prepare": "C_GenerateKeyPair", "write": "C_CreateObject"}
BYTES = {  # how far a file gets; an object of SoftHSM has some 300 to 1200 bytes
    "torn": (0, 1, 64, 200, 500),
    # Beyond that SoftHSM 2.6.1 answers CKR_OK, keeps the object in memory and a torn file on disk:
    # see docs/operations/faults.md.
    "room": (0, 1),
}


@dataclass(frozen=True)
class Case:
    """One fault."""

    job: str
    function: str
    which: str
    effect: str
    error: str = ""
    size: int = 0

    @property
    def name(self) -> str:
        number = self.error or (f"{self.size} bytes" if self.effect in ("torn", "room") else "")
        return " ".join(filter(None, (self.job, self.function, self.which, self.effect, number)))

    @property
    def number(self) -> int:
        return ERRORS.get(self.error, self.size)


def every_case() -> list[Case]:
    """Return the matrix; the errors take turns."""
    cases = []
    for job, functions in REACHED.items():
        for function, which in functions.items():
            for one in which:
                for effect in EFFECTS:
                    error = list(ERRORS)[len(cases) % len(ERRORS)]
                    told = error if effect in ("before", "after") else ""
                    cases.append(Case(job, function, one, effect, told))
    return cases


def within_the_call() -> list[Case]:
    """Return the faults that meet SoftHSM while it writes a file."""
    return [
        Case(job, function, "first", effect, size=size)
        for job, function in WRITING.items()
        for effect, sizes in BYTES.items()
        for size in sizes
    ]


def thinned(cases: list[Case], *, every: int) -> list:
    """Return the cases as parameters; all but each n-th are for the long run of all tests."""
    return [
        pytest.param(case, id=case.name, marks=pytest.mark.slow if n % every else ())
        for n, case in enumerate(cases)
    ]


def position(undisturbed: Errand, case: Case) -> int:
    """Return which call of the function, counted from the start of the visit, is meant."""
    before = 0
    for job, calls in undisturbed.reached.items():
        within = calls.count(case.function)
        if job == case.job:
            assert within, f"{case.function} is not reached any more: {case.name}"
            return before + (1 if case.which == "first" else within)
        before += within
    raise AssertionError(f"there is no such job: {case.job}")


def taking_turns(job: str, functions: tuple[str, ...]) -> list[Case]:
    """Return each effect at the first call of each function; the errors take turns."""
    names = list(ERRORS)
    return [
        Case(job, name, "first", e, names[n % len(names)] if e in ("before", "after") else "")
        for n, name in enumerate(functions)
        for e in EFFECTS
    ]


@pytest.fixture(scope="module")
def furnished_card(tmp_path_factory):
    """A card with everything on it, and the process that helpers are forked from."""
    folder = tmp_path_factory.mktemp("cards")
    zygote = Zygote()
    yield furnished(folder / "furnished", zygote, compiled_shim(folder))
    zygote.close()


@pytest.fixture(scope="module")
def undisturbed(furnished_card, tmp_path_factory):
    """An update that nothing happened to."""
    errand = Errand(furnished_card.copy(tmp_path_factory.mktemp("undisturbed")))
    errand.visit()
    return errand


@pytest.fixture
def card(furnished_card, tmp_path):
    """A copy of the card for one case."""
    return furnished_card.copy(tmp_path)


def test_the_table_names_every_function_that_a_visit_reaches(undisturbed):
    reached = {
        job: {name: OFTEN if calls.count(name) > 1 else ONCE for name in calls}
        for job, calls in undisturbed.reached.items()
    }
    assert reached == REACHED
    judging.at_the_end(undisturbed)


@pytest.mark.parametrize("case", thinned(every_case(), every=7))
def test_a_fault_at_a_call_costs_a_repeat_and_nothing_else(card: Card, undisturbed, case):
    disturbed(card, case, position(undisturbed, case))


@pytest.mark.parametrize("case", thinned(within_the_call(), every=4))
def test_a_fault_within_a_call_leaves_a_torn_file_at_most(card: Card, undisturbed, case):
    disturbed(card, case, position(undisturbed, case), torn=2)


@pytest.mark.parametrize("case", thinned(taking_turns("look", LOOKING), every=11))
def test_a_fault_while_a_reader_is_watched_changes_nothing(card: Card, case):
    before, seen = card.files(), card.look_by_agent()
    card.order(case.function, 1, case.effect, case.number)
    card.look_by_agent()

    assert card.has_fired(), "the fault was never reached"
    assert (card.files(), card.look_by_agent()) == (before, seen)


@pytest.mark.parametrize("case", thinned(taking_turns("sign", SIGNING), every=11))
def test_a_fault_while_a_form_is_signed_costs_a_repeat(card: Card, case):
    before = card.files()
    card.order(case.function, 1, case.effect, case.number)
    signed(card)

    assert card.has_fired(), "the fault was never reached"
    assert card.files() == before
    assert whole(signed(card)).startswith(form())
    assert card.calls().count("C_Login") <= card.desk.person.was_asked() == 2


def signed(card: Card) -> tuple[str, ...]:
    """Return what came of one click to sign, in pieces."""
    (old,) = card.old
    sitting = card.sitting()
    job = card.desk.sign_job(form(), ref_of(old.cka_id, old.certificate_pem))
    sitting.run(job, IssuedForm(content=in_pieces(form())))
    sitting.end()
    return sitting.signed


def disturbed(card: Card, case: Case, n: int, *, torn: int = 0) -> Errand:
    """Let the holder continue until the update is over; the fault meets the first visit."""
    errand = Errand(card)
    card.order(case.function, n, case.effect, case.number)
    errand.visit()
    assert card.has_fired(), "the fault was never reached"
    judging.at_the_fault(errand)
    if case.effect in ("before", "after", "room"):
        assert "died" not in errand.ended, "an error of the card is a named state"
    if not errand.is_over:
        errand.visit()
    judging.at_the_end(errand, torn=torn)
    return errand
