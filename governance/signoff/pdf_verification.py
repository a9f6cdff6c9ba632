"""Checks of the signed PDF: each signature, and that nobody cut or continued the file."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from typing import Any

from cryptography import x509

from finchaos.core.errors import IntegrityError
from finchaos.core.people import same_person
from finchaos.core.provenance import sha256
from governance.record import SignedCopy, SignOff
from governance.signoff.keys import certificate_digest, common_name, public_key_digest
from governance.signoff.trust import Roots, require_pyhanko, trust_label, validation_context


def require_recorded_states(document: bytes, report: bytes, signed: Sequence[SignOff]) -> None:
    """Check that the file is the report plus exactly the signatures that were recorded.

    Parameters
    ----------
    document : bytes
        The signed PDF.
    report : bytes
        The report as it was rendered.
    signed : sequence of SignOff
        In the order of signing.

    Raises
    ------
    IntegrityError
        If the file does not begin with the report, differs from a recorded state, was cut back to
        fewer signatures or goes on after the last one.
    """
    if not document.startswith(report):
        raise IntegrityError("the signed PDF does not begin with the report that was signed")
    reached = len(report)
    for record in signed:
        copy = _copy(record)
        if not reached < copy.length <= len(document):
            raise IntegrityError(
                f"the signature of the {record.role} is missing from the PDF",
                expected=f"at least {copy.length} bytes",
                got=f"{len(document)} bytes, so the file was cut back",
            )
        if sha256(document[: copy.length]) != copy.digest:
            raise IntegrityError(f"the PDF differs from what the {record.role} signed")
        reached = copy.length
    if reached != len(document):
        raise IntegrityError(
            "the PDF was continued after the last recorded signature",
            expected=f"{reached} bytes",
            got=f"{len(document)} bytes",
        )


def require_pdf_signatures(document: bytes, signed: Sequence[SignOff], roots: Roots) -> None:
    """Check every signature inside the PDF as a viewer would, offline.

    Parameters
    ----------
    document : bytes
    signed : sequence of SignOff
        The signatures to expect, in order: exactly these and no other.
    roots : sequence of x509.Certificate

    Raises
    ------
    IntegrityError
        If one is missing, extra, broken, by somebody else, not trusted, or followed by a change
        that the certification forbids. Whatever pyHanko raises on a damaged file is one of these.
    """
    require_pyhanko()
    from pyhanko.pdf_utils.reader import PdfFileReader

    try:
        embedded = PdfFileReader(io.BytesIO(document)).embedded_regular_signatures
        found = [signature.field_name for signature in embedded]
        if found != [record.role for record in signed]:
            raise IntegrityError(
                "the PDF does not hold the expected signatures",
                expected=", ".join(record.role for record in signed),
                got=", ".join(found) or "none",
            )
        for signature, record in zip(embedded, signed, strict=True):
            _require_signature(signature, record, roots, certified=record is signed[0])
    except IntegrityError:
        raise
    except Exception as error:  # a damaged PDF raises a dozen unrelated types
        raise IntegrityError(
            "the signed PDF cannot be read", got=f"{type(error).__name__}: {error}"
        ) from error


def _require_signature(signature: Any, record: SignOff, roots: Roots, *, certified: bool) -> None:
    from pyhanko.sign.validation import validate_pdf_signature
    from pyhanko.sign.validation.settings import KeyUsageConstraints

    copy = _copy(record)
    certificate = x509.load_der_x509_certificate(signature.signer_cert.dump())
    if (certificate_digest(certificate), public_key_digest(certificate)) != (
        copy.certificate,
        copy.public_key,
    ) or not same_person(common_name(certificate), record.person):
        raise IntegrityError(
            f"the PDF is signed for the {record.role} by another certificate than recorded",
            expected=record.person,
            got=common_name(certificate),
        )
    status = validate_pdf_signature(
        signature,
        signer_validation_context=validation_context(roots, dt.datetime.fromisoformat(record.at)),
        key_usage_settings=KeyUsageConstraints(
            key_usage={"digital_signature", "non_repudiation"}, match_all_key_usages=False
        ),
    )
    if not status.bottom_line:
        raise IntegrityError(
            f"the PDF signature of the {record.role} is not valid",
            expected="intact, trusted, and only form filling after it",
            got=status.summary(),
        )
    if _label_of_root(status, roots) != record.trust:
        raise IntegrityError(
            f"the PDF signature of the {record.role} leads to another root than recorded",
            expected=record.trust,
        )
    start, first, second, rest = (int(part) for part in signature.byte_range)
    if start != 0 or not first < second or second + rest > copy.length:
        raise IntegrityError(f"the PDF signature of the {record.role} covers other bytes")
    if certified and signature.docmdp_level is None:
        raise IntegrityError("the first signature does not certify the PDF")


def _label_of_root(status: Any, roots: Roots) -> str:
    """Label of the root that a validated PDF signature leads to."""
    anchor = status.validation_path.trust_anchor.certificate.dump()
    for root in roots:
        if certificate_digest(root) == sha256(anchor):
            return trust_label(root)
    raise IntegrityError("the PDF signature leads to a root that is not trusted")


def _copy(record: SignOff) -> SignedCopy:
    if record.pdf is None:
        raise IntegrityError(f"the sign-off of the {record.role} does not say what PDF was signed")
    return record.pdf
