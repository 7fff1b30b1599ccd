"""A form says how it may be signed, and where."""

import asyncio

import pypdfium2
import pytest

from cardflow.documents.forms import render_request_form, signature_box
from cardflow.model import FormSignature
from tests.documents.build import form, form_data


def text_of(pdf: bytes) -> str:
    (page,) = pypdfium2.PdfDocument(pdf)
    return " ".join(page.get_textpage().get_text_range().split())


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize(
    ("way", "steps"),
    [(FormSignature.PAPER, 3), (FormSignature.ELECTRONIC, 1), (FormSignature.EITHER, 4)],
)
async def test_the_steps_fit_the_way_of_signing(way, steps, language) -> None:
    data = form_data(signature=way, language=language)
    text = text_of(await render_request_form(data))

    with_card = {"en": "with your card", "de": "mit Ihrer Karte"}[language]
    assert (with_card in text) is (way is not FormSignature.PAPER)
    assert f"{steps}. " in text
    assert f"{steps + 1}. " not in text


async def test_the_same_data_give_the_same_form() -> None:
    one, other = await asyncio.gather(*(render_request_form(form_data()) for _ in range(2)))
    assert one == other == form()


async def test_the_place_of_the_signature_is_a_box_on_the_page() -> None:
    box = await signature_box(form_data())

    assert box.page == 0
    assert 0 < box.left < box.right < 595
    assert 0 < box.bottom < box.top < 842
    assert box.right - box.left > 150
    assert box.top - box.bottom > 40


# What a form's own language would do with it, were it not text: typst's syntax, class by class.
CODE = [
    '#read("/etc/passwd")',
    '#eval("1 + 1")',
    '#import "@preview/evil:1.0.0": *',
    '#include "form.typ"',
    '#image("/etc/passwd")',
    "#sys.inputs",
    "#{ while true {} }",
    "#set page(width: 1pt)",
    '#show regex("."): none',
    "#pagebreak()",
    "$ sum_1^2 $",
    "*bold* _slanted_ `raw` = heading",
    "<label> @reference",
    "// comment /* comment */",
    "\\u{23}read \\#",
]


@pytest.mark.parametrize("code", CODE)
async def test_what_a_form_is_filled_with_is_text_and_never_code(code: str) -> None:
    texts = ("organisation", "holder_name", "holder_email", "card", "profile", "subject",
             "key_type", "policy_name", "contact", "portal", "statement", "update_id")  # fmt: skip
    filled = form_data(**dict.fromkeys(texts, code))

    shown = "".join(text_of(await render_request_form(filled)).split())

    assert shown.count("".join(code.split())) >= len(texts)
    assert "root:" not in shown
