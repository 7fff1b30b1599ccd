"""Published attacks on signed PDFs: each ends in a named refusal or in a person's hands."""

import asyncio
import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pikepdf
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers

from cardflow.documents.examiner.examination import examine
from cardflow.documents.examiner.signature import examine_signature
from cardflow.documents.signatures import findings_of
from cardflow.errors import Refused
from tests.documents.build import form
from tests.documents.signing import certified, holder, issuing, signed, trust
from tests.documents.test_intake import LIMITS

TRILLION = "1 Trillion Dollar Refund (CCS 2019)"
SHADOW = "Shadow Attacks (NDSS 2021)"
CERTIFIED = "Breaking the Specification (S&P 2021)"


@dataclass(frozen=True)
class Attack:
    """A signed file that shows something else than what was signed, and what becomes of it."""

    name: str
    make: Callable[[], bytes]
    outcome: str  # words of the refusal, or of a doubt
    source: str


def ranged(change: Callable[[list[int]], list[int]]) -> bytes:
    """Return the signed form with another ByteRange in the same place."""
    data = signed(holder())
    found = re.search(rb"/ByteRange \[([0-9 ]+)\]", data)
    assert found is not None
    numbers = b" ".join(b"%d" % n for n in change([int(n) for n in found[1].split()]))
    start, end = found.span(1)
    return data[:start] + numbers.ljust(end - start) + data[end:]


def added(change: Callable[[IncrementalPdfFileWriter], None], data: bytes = b"") -> bytes:
    """Return the signed form with an incremental update."""
    out = io.BytesIO()
    writer = IncrementalPdfFileWriter(io.BytesIO(data or signed(holder())))
    change(writer)
    writer.write(out)
    return out.getvalue()


def without_signature_value() -> bytes:
    return re.sub(
        rb"/Contents <[0-9a-fA-F]+>",
        lambda found: b"/Contents <" + b"0" * (len(found[0]) - 12) + b">",
        signed(holder()),
    )


def with_other_objects() -> bytes:
    """Return the signed form and, behind it, objects that no table names."""
    return signed(holder()) + b"\n4 0 obj\n<</Length 0>>\nstream\n\nendstream\nendobj\n%%EOF\n"


def wrapped() -> bytes:
    """Return the signed form with its second half moved to make room for other objects."""
    moved = b"\n4 0 obj\n<</Length 0>>\nstream\n\nendstream\nendobj\n"
    data = ranged(lambda r: [r[0], r[1], r[2] + len(moved), r[3]])
    end = re.search(rb"/Contents <[0-9a-fA-F]+>", data)
    assert end is not None
    return data[: end.end()] + moved + data[end.end() :]


def overlaid() -> bytes:
    """Return a form under a cover, as it is before somebody is asked to sign it."""
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(form())) as pdf:
        cover = pdf.make_stream(b"1 g 0 0 595 842 re f")
        pdf.pages[0].contents_add(cover)
        pdf.save(out)
    return out.getvalue()


def uncover(writer: IncrementalPdfFileWriter) -> None:
    reference = writer.find_page_for_modification(0)[0]
    page = reference.get_object()
    page["/Contents"] = page["/Contents"].raw_get(0)
    writer.mark_update(reference)


def replace_font(writer: IncrementalPdfFileWriter) -> None:
    fonts = writer.find_page_for_modification(0)[0].get_object()["/Resources"]["/Font"]
    reference = fonts.raw_get(next(iter(fonts)))
    reference.get_object()["/BaseFont"] = generic.NameObject("/Other")
    writer.mark_update(reference)


def replace_pages(writer: IncrementalPdfFileWriter) -> None:
    pages = generic.DictionaryObject(
        {
            generic.NameObject("/Type"): generic.NameObject("/Pages"),
            generic.NameObject("/Count"): generic.NumberObject(1),
            generic.NameObject("/Kids"): writer.root["/Pages"]["/Kids"],
        }
    )
    writer.root["/Pages"] = writer.add_object(pages)
    writer.update_root()


def annotate(kind: str) -> Callable[[IncrementalPdfFileWriter], None]:
    def change(writer: IncrementalPdfFileWriter) -> None:
        note = generic.DictionaryObject(
            {
                generic.NameObject("/Type"): generic.NameObject("/Annot"),
                generic.NameObject("/Subtype"): generic.NameObject(kind),
                generic.NameObject("/Contents"): generic.TextStringObject("1,000,000"),
                generic.NameObject("/Rect"): generic.ArrayObject(
                    map(generic.NumberObject, (100, 400, 400, 500))
                ),
            }
        )
        writer.register_annotation(writer.find_page_for_modification(0)[0], writer.add_object(note))

    return change


def rename_title(writer: IncrementalPdfFileWriter) -> None:
    writer.set_info(
        generic.DictionaryObject(
            {generic.NameObject("/Title"): generic.TextStringObject("Another form")}
        )
    )


def hashed_with(algorithm: str) -> bytes:
    """Return the form signed over a digest that no longer binds."""

    async def sign() -> bytes:
        by = certified("Zoe", issuing(), key=rsa.generate_private_key(65_537, 2048))
        signer = signers.SimpleSigner(by.asn1, by.asn1_key, None)
        metadata = signers.PdfSignatureMetadata(
            field_name="Old", md_algorithm=algorithm, subfilter=fields.SigSeedSubFilter.PADES
        )
        out = io.BytesIO()
        writer = IncrementalPdfFileWriter(io.BytesIO(form()))
        await signers.PdfSigner(metadata, signer=signer).async_sign_pdf(writer, output=out)
        return out.getvalue()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, sign()).result()


DAMAGED, CHANGED = "damaged", "was changed after it was signed"
ATTACKS = [
    Attack("no range", lambda: ranged(lambda _: [0, 0, 0, 0]), f"{DAMAGED}|{CHANGED}", TRILLION),
    Attack("a range below zero", lambda: ranged(lambda r: [0, -1, r[2], r[3]]), CHANGED, TRILLION),
    Attack("a range of one part", lambda: ranged(lambda r: r[:2]), CHANGED, TRILLION),
    Attack(
        "a range with a larger hole",
        lambda: ranged(lambda r: [r[0], r[1] - 99, r[2], r[3]]),
        f"{DAMAGED}|{CHANGED}",
        TRILLION,
    ),
    Attack(
        "a range that ends early",
        lambda: ranged(lambda r: [*r[:3], r[3] - 99]),
        CHANGED,
        TRILLION,
    ),
    Attack("no signature value", without_signature_value, DAMAGED, TRILLION + ", USF"),
    Attack("objects behind the end", with_other_objects, f"{DAMAGED}|{CHANGED}|end", TRILLION),
    Attack("a wrapped signature", wrapped, f"{DAMAGED}|{CHANGED}", TRILLION + ", SWA"),
    Attack(
        "a cover that is taken off",
        lambda: added(uncover, signed(holder(), overlaid())),
        CHANGED,
        SHADOW + ", hide",
    ),
    Attack("another font", lambda: added(replace_font), CHANGED, SHADOW + ", replace"),
    Attack("other pages", lambda: added(replace_pages), CHANGED, SHADOW + ", hide and replace"),
    Attack("a text over the text", lambda: added(annotate("/FreeText")), CHANGED, CERTIFIED),
    Attack("a stamp over the text", lambda: added(annotate("/Stamp")), CHANGED, CERTIFIED),
    Attack("another title", lambda: added(rename_title), "^$", "ISO 32000-2 14.3.3, nothing shown"),
    Attack("signed over MD5", lambda: hashed_with("md5"), "not good|cannot be", "RFC 6151"),
    Attack("signed over SHA-1", lambda: hashed_with("sha1"), "not good|cannot be", "RFC 6194"),
]


@pytest.mark.parametrize("attack", [pytest.param(a, id=a.name) for a in ATTACKS])
def test_an_attack_on_a_signature_does_not_count_as_one(attack: Attack) -> None:
    data = attack.make()
    try:
        examine(data, LIMITS)
        seen = examine_signature(data, trust())
        assert seen is not None
        answer = "; ".join(findings_of(seen, is_issued=data.startswith(form())).reasons)
    except Refused as refused:
        answer = str(refused)

    assert re.search(attack.outcome, answer), answer or "good"
