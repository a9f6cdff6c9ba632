"""Signatures on the PDF, the copy that people see (PAdES, ETSI EN 319 142-1, level B-B).

Before the first signature a sign-off page with one empty field a role is put in front. The first
role certifies the document for form filling (DocMDP); the others fill their fields. In the file
every step only appends, so it begins with the report as it was rendered and with each earlier
signed state.

The report must come without object streams and with resources kept per page, as
``reports.formats.pdf`` makes it; else checking the signatures takes minutes.
"""

from __future__ import annotations

import datetime as dt
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from finchaos.core.errors import IntegrityError
from governance.record import ROLES, Role
from governance.signoff.keys import Credential
from governance.signoff.stamp import box
from governance.signoff.trust import asn1_certificate, require_pyhanko


@dataclass(frozen=True)
class Signature:
    """One signature to be put on the PDF.

    Attributes
    ----------
    role : Role
        Name of the field to sign.
    credential : Credential
    at : datetime with zone
    reason : str
        What the signature says, shown by viewers.
    stamp : bytes
        Visible part, a PDF of one page.
    """

    role: Role
    credential: Credential
    at: dt.datetime
    reason: str
    stamp: bytes


def with_fields(report: bytes, page: bytes, at: dt.datetime) -> bytes:
    """``report`` with the sign-off page in front and one empty signature field a role on it.

    Parameters
    ----------
    report : bytes
    page : bytes
        The sign-off page, a PDF of one page.
    at : datetime with zone
        When the signed copy is made, which is when the first person signs; an undated report
        has no other date.

    Raises
    ------
    IntegrityError
        If the report cannot be read as a PDF.
    """
    require_pyhanko()
    from pyhanko.pdf_utils import generic, writer
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.sign.fields import SigFieldSpec, append_signature_field

    pdf: Any = generic
    page_object: Any = writer.PageObject
    try:
        update: Any = IncrementalPdfFileWriter(io.BytesIO(report))
        _date(update, at)
        drawn = update.import_page_as_xobject(PdfFileReader(io.BytesIO(page)))
    except Exception as error:  # pyHanko has no common base for what a damaged file raises
        raise IntegrityError(
            "the report is not a PDF that can be signed", got=f"{type(error).__name__}: {error}"
        ) from error
    # An artifact: the page is not part of the report's tagged text.
    content = pdf.StreamObject(stream_data=b"/Artifact BMC q /SignOff Do Q EMC")
    drawings = pdf.DictionaryObject({pdf.NameObject("/SignOff"): drawn})
    update.insert_page(
        page_object(
            contents=update.add_object(content),
            media_box=pdf.ArrayObject(drawn.get_object()["/BBox"]),
            resources=pdf.DictionaryObject({pdf.NameObject("/XObject"): drawings}),
        ),
        after=-1,
    )
    for role in ROLES:
        append_signature_field(
            update,
            SigFieldSpec(
                role, on_page=0, box=box(role), readable_field_name=f"Signature of the {role}"
            ),
        )
    out = io.BytesIO()
    update.write(out)
    return out.getvalue()


def _date(update: Any, at: dt.datetime) -> None:
    """Say in both places that a PDF has for it when the signed copy was made."""
    from pyhanko.pdf_utils import generic

    pdf: Any = generic
    update._meta.created = at
    if update._info is not None:
        update._info.get_object()[pdf.NameObject("/CreationDate")] = pdf.pdf_date(at)
        update.mark_update(update._info)


def with_signature(document: bytes, signature: Signature, *, certify: bool) -> bytes:
    """``document`` with one more signature appended.

    Parameters
    ----------
    document : bytes
        From :func:`with_fields`, or signed before.
    signature : Signature
    certify : bool
        Whether this is the first signature, which forbids everything but filling fields.
    """
    require_pyhanko()
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.pdf_utils.layout import AxisAlignment, SimpleBoxLayoutRule
    from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
    from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
    from pyhanko.stamp import StaticStampStyle

    class DatedSigner(PdfSigner):
        """Signs at the time of the sign-off record, not at the moment the file is written."""

        def init_signing_session(self, *args: Any, **kwargs: Any) -> Any:
            session = super().init_signing_session(*args, **kwargs)
            session.system_time = signature.at
            return session

    metadata = PdfSignatureMetadata(
        field_name=signature.role,
        reason=signature.reason,
        subfilter=SigSeedSubFilter.PADES,
        certify=certify,
        docmdp_permissions=MDPPerm.FILL_FORMS,
    )
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "stamp.pdf"
        drawn.write_bytes(signature.stamp)
        style = StaticStampStyle.from_pdf_file(
            str(drawn),
            border_width=0,
            background_layout=SimpleBoxLayoutRule(AxisAlignment.ALIGN_MID, AxisAlignment.ALIGN_MID),
        )
        DatedSigner(metadata, _signer(signature.credential), stamp_style=style).sign_pdf(
            IncrementalPdfFileWriter(io.BytesIO(document)), existing_fields_only=True, output=out
        )
    return out.getvalue()


def _signer(credential: Credential) -> Any:
    from asn1crypto.keys import PrivateKeyInfo  # type: ignore[import-untyped]
    from pyhanko.sign.signers import SimpleSigner
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    store.register_multiple(asn1_certificate(c) for c in credential.chain)
    key = credential.key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return SimpleSigner(
        signing_cert=asn1_certificate(credential.certificate),
        signing_key=PrivateKeyInfo.load(key),
        cert_registry=store,
    )
