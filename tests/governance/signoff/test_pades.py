"""The signed PDF by itself: what a viewer would check, and what it looks like."""

from __future__ import annotations

import datetime as dt
import io
import shutil
import subprocess

import pikepdf
import pypdf
import pytest
import weasyprint
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import MDPPerm

from finchaos.core.errors import IntegrityError
from governance.record import ROLES, ClauseCoverage
from governance.signoff.demo import demo_roots
from governance.signoff.pades import Signature, with_fields, with_signature
from governance.signoff.pdf_verification import require_pdf_signatures, require_recorded_states
from governance.signoff.stamp import box, sign_off_page, stamp
from tests.governance.evidence import small_run
from tests.governance.signoff.authority import NOW, Authority


@pytest.fixture(scope="module")
def document(sealed):
    return sealed.pdf.read_bytes()


@pytest.fixture(scope="module")
def records(sealed):
    return sealed.verify().records


@pytest.fixture(scope="module")
def roots(sealed):
    return demo_roots(sealed.root)


def test_signatures_verify_alone(document, records, roots):
    require_pdf_signatures(document, records, roots)


@pytest.mark.skipif(shutil.which("pdfsig") is None, reason="poppler-utils is not installed")
def test_another_implementation_finds_the_signatures_intact(sealed):
    done = subprocess.run(
        ["pdfsig", "-nocert", str(sealed.pdf)], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("Signature is Valid") == 3
    assert "Grace Hopper" in done.stdout
    assert "Total document signed" in done.stdout


def test_any_flipped_byte_fails_without_the_records_digests(document, records, roots):
    """PDF syntax leaves slack, such as white space between objects, but not inside a signature."""
    start = 0
    for record in records:
        for place in range(start + 7, record.pdf.length - 7, 1201):
            changed = bytearray(document)
            changed[place] ^= 0x15
            with pytest.raises(IntegrityError):
                require_pdf_signatures(bytes(changed), records, roots)
        start = record.pdf.length


def test_fewer_signatures_are_found_though_those_left_are_valid(document, records, roots):
    cut = document[: records[1].pdf.length]
    require_pdf_signatures(cut, records[:2], roots)
    with pytest.raises(IntegrityError, match="does not hold the expected signatures"):
        require_pdf_signatures(cut, records, roots)
    with pytest.raises(IntegrityError, match="approver is missing from the PDF"):
        require_recorded_states(cut, document[:10], records)


def test_a_run_with_its_pdf_cut_back_fails(signed):
    signed.pdf.write_bytes(signed.pdf.read_bytes()[: signed.verify().records[1].pdf.length])
    assert "the file was cut back" in signed.failures()


def test_more_signatures_than_recorded_are_found(document, records, roots):
    with pytest.raises(IntegrityError, match="does not hold the expected signatures"):
        require_pdf_signatures(document, records[:2], roots)


def test_a_change_after_certification_is_found(document, records, roots):
    writer = IncrementalPdfFileWriter(io.BytesIO(document))
    from pyhanko.pdf_utils.generic import NameObject, NumberObject

    page = writer.root["/Pages"]["/Kids"][1]
    page[NameObject("/Rotate")] = NumberObject(90)
    writer.mark_update(writer.root["/Pages"]["/Kids"].raw_get(1))
    out = io.BytesIO()
    writer.write(out)
    changed = out.getvalue()
    with pytest.raises(IntegrityError, match="is not valid"):
        require_pdf_signatures(changed, records, roots)
    with pytest.raises(IntegrityError, match="continued after the last"):
        require_recorded_states(changed, document[:10], records)


def test_the_first_signature_certifies_for_form_filling(document):
    from pyhanko.pdf_utils.reader import PdfFileReader

    embedded = PdfFileReader(io.BytesIO(document)).embedded_regular_signatures
    assert [s.field_name for s in embedded] == list(ROLES)
    assert embedded[0].docmdp_level == MDPPerm.FILL_FORMS
    assert [s.self_reported_timestamp for s in embedded] == [
        NOW + dt.timedelta(hours=i) for i in range(3)
    ]


def test_another_root_or_another_certificate_is_found(document, records, roots):
    with pytest.raises(IntegrityError, match="is not valid"):
        require_pdf_signatures(document, records, [Authority().root])
    copy = records[0].pdf.model_copy(update={"certificate": "0" * 64})
    with pytest.raises(IntegrityError, match="another certificate than recorded"):
        require_pdf_signatures(
            document, [records[0].model_copy(update={"pdf": copy}), *records[1:]], roots
        )
    other = records[0].model_copy(update={"person": "Somebody Else"})
    with pytest.raises(IntegrityError, match="another certificate than recorded"):
        require_pdf_signatures(document, [other, *records[1:]], roots)
    elsewhere = records[0].model_copy(update={"trust": "CN=Bank Root"})
    with pytest.raises(IntegrityError, match="another root than recorded"):
        require_pdf_signatures(document, [elsewhere, *records[1:]], roots)


def test_a_signature_outside_its_certificates_validity_is_found(document, records, roots):
    late = records[0].model_copy(update={"at": (NOW + dt.timedelta(days=9000)).isoformat()})
    with pytest.raises(IntegrityError, match="developer is not valid"):
        require_pdf_signatures(document, [late, *records[1:]], roots)


def test_a_pdf_that_does_not_begin_with_the_report_is_found(document, records):
    with pytest.raises(IntegrityError, match="does not begin with the report"):
        require_recorded_states(document, b"%PDF-1.7 another", records)


def test_a_signature_in_place_of_a_certification_is_found(report, sealed, records, roots):
    """The same signer, uncertified: later changes would go unnoticed by viewers."""
    identity = sealed.identity("developer")
    fields = with_fields(report, sign_off_page(sealed.run, demo=True), NOW)
    visible = stamp(
        role="developer", person="Ada Lovelace", decision="approve", conditions="", at="x",
        run=sealed.run.digest, demo=True,
    )  # fmt: skip
    signature = Signature("developer", identity.documents, NOW, "r", visible)
    plain = with_signature(fields, signature, certify=False)
    copy = records[0].pdf.model_copy(update={"length": len(plain)})
    with pytest.raises(IntegrityError, match="does not certify"):
        require_pdf_signatures(plain, [records[0].model_copy(update={"pdf": copy})], roots)


def words(data: bytes, page: int = 0) -> str:
    return " ".join(pypdf.PdfReader(io.BytesIO(data)).pages[page].extract_text().split())


def test_the_sign_off_page_says_demo_trust_exactly_under_a_demonstration_root(sealed):
    run = sealed.run
    assert "DEMO TRUST" in words(sign_off_page(run, demo=True))
    assert "DEMO TRUST" not in words(sign_off_page(run, demo=False))
    assert run.digest in words(sign_off_page(run, demo=False)).replace(" ", "")


def test_the_signed_pdf_shows_who_decided_what(document):
    with pikepdf.open(io.BytesIO(document)) as pdf:
        fields = {str(f.T): f for f in pdf.Root.AcroForm.Fields}
        assert set(fields) == set(ROLES)
        for role, field in fields.items():
            assert tuple(round(float(x)) for x in field.Rect) == box(role)
            assert len(field.AP.N.Resources.XObject) == 1
        page_count = len(pdf.pages)
    assert page_count == 2
    assert "DEMO TRUST" in words(document)


def test_the_first_page_names_the_signers_and_the_file_is_dated_by_the_first(sealed, document):
    reader = pypdf.PdfReader(io.BytesIO(document))
    page = reader.pages[0]
    assert "Each box takes one digital signature" in words(document, 0)
    stamps = {str(item.get_object()["/T"]): item.get_object()["/Rect"] for item in page["/Annots"]}
    assert set(stamps) == set(ROLES)
    assert "Report" in words(document, 1)
    assert reader.metadata.creation_date == NOW.replace(microsecond=0)


def test_an_undated_tagged_report_is_dated_by_the_first_signature(sealed):
    printed = weasyprint.HTML(string="<html lang=en><title>R</title><p>Text").write_pdf(
        pdf_variant="pdf/ua-1"
    )
    assert pypdf.PdfReader(io.BytesIO(printed)).metadata.creation_date is None
    made = with_fields(printed, sign_off_page(sealed.run, demo=True), NOW)
    reader = pypdf.PdfReader(io.BytesIO(made))
    assert reader.metadata.creation_date == NOW
    assert reader.xmp_metadata.xmp_create_date.isoformat()[:16] == NOW.isoformat()[:16]


def test_a_stamp_says_who_when_in_which_role_and_for_which_clause(sealed):
    said = words(
        stamp(
            role="validator", person="Émile Borel", decision="approve", conditions="",
            at="2026-05-01 12:00 UTC", run=sealed.run.digest, demo=True, clauses=["A5"],
        )
    )  # fmt: skip
    for wanted in ("Émile Borel", "Validator approves", "2026-05-01 12:00 UTC", "clause A5 of"):
        assert wanted in said


def test_the_sign_off_page_says_which_clauses_the_signatures_serve():
    row = ClauseCoverage(
        clause="A5", section="III", summary="s", status="not_evidenced", worst=None, findings=(),
        needs="n", sign_off=("validator",),
    )  # fmt: skip
    said = words(sign_off_page(small_run(coverage=(row,)), demo=False))
    assert "awaiting sign-off: A5 by the signature of the validator." in said


def test_all_fonts_are_embedded(document):
    with pikepdf.open(io.BytesIO(document)) as pdf:
        fonts = [
            o
            for o in pdf.objects
            if isinstance(o, pikepdf.Dictionary) and o.get("/Type") == "/FontDescriptor"
        ]
        assert fonts
        assert all(any(k.startswith("/FontFile") for k in f) for f in fonts)
        base = {
            str(o.BaseFont)
            for o in pdf.objects
            if isinstance(o, pikepdf.Dictionary) and o.get("/Type") == "/Font"
        }
    assert not any("Courier" in name or "Helvetica" in name for name in base)


def test_stamps_escape_and_shorten_what_people_write():
    said = words(
        stamp(
            role="approver",
            person="<b>Ada</b> & Co",
            decision="approve_with_conditions",
            conditions="long " * 300,
            at="2026-05-01 12:00 UTC",
            run=small_run().digest,
            demo=False,
        )
    )
    assert "<b>Ada</b> & Co" in said
    assert "in full in the sign-off record" in said
    assert "DEMO" not in said


def test_what_is_no_pdf_is_refused():
    with pytest.raises(IntegrityError, match="not a PDF that can be signed"):
        with_fields(b"junk", sign_off_page(small_run(), demo=True), NOW)
