"""Which roots are trusted, and whether a certificate leads to one of them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from finchaos.core.errors import InputError, IntegrityError, MissingDependencyError
from finchaos.core.extras import installing
from governance.signoff.demo import demo_roots, is_demo

Roots = Sequence[x509.Certificate]


def trusted_roots(trust: Path | None, store_root: Path) -> tuple[x509.Certificate, ...]:
    """The roots in a PEM file; without a file, the demonstration root of the store.

    Parameters
    ----------
    trust : Path or None
        PEM file with one or more root certificates.
    store_root : Path

    Raises
    ------
    InputError
        If the file cannot be read or holds no certificate.
    """
    if trust is None:
        return demo_roots(store_root)
    try:
        return tuple(x509.load_pem_x509_certificates(trust.read_bytes()))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read trusted roots from {trust}",
            expected="a PEM file with one or more certificates",
            got=str(error).splitlines()[0],
        ) from error


def trust_label(root: x509.Certificate) -> str:
    """``demo`` for a demonstration root however it was passed, else the root's subject."""
    return "demo" if is_demo(root) else root.subject.rfc4514_string()


def require_pyhanko() -> None:
    """Raise MissingDependencyError unless pyHanko is installed."""
    try:
        import pyhanko.sign  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "signatures need pyHanko", got=str(error), remedy=installing("report")
        ) from error


def validation_context(
    roots: Roots, at: dt.datetime, others: Iterable[x509.Certificate] = ()
) -> Any:
    """A pyHanko validation context for time ``at`` that never uses the network.

    Revocation cannot be looked up offline; only validity periods and constraints are checked.
    """
    from pyhanko_certvalidator import ValidationContext

    return ValidationContext(
        trust_roots=[asn1_certificate(root) for root in roots],
        other_certs=[asn1_certificate(other) for other in others],
        moment=at,
        allow_fetching=False,
        revocation_mode="soft-fail",
    )


def asn1_certificate(certificate: x509.Certificate) -> Any:
    """The certificate as pyHanko wants it."""
    from asn1crypto import x509 as asn1  # type: ignore[import-untyped]

    return asn1.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))


def require_trusted(
    certificate: x509.Certificate,
    chain: Iterable[x509.Certificate],
    roots: Roots,
    at: dt.datetime,
) -> x509.Certificate:
    """The root that ``certificate`` leads to, by the path validation of RFC 5280, at time ``at``.

    Raises
    ------
    IntegrityError
        If there is no valid path, a certificate on it was not valid at that time, or it may not
        be used for signatures.
    """
    require_pyhanko()
    from pyhanko_certvalidator import CertificateValidator
    from pyhanko_certvalidator.errors import (
        InvalidCertificateError,
        PathBuildingError,
        ValidationError,
    )

    if not roots:
        raise IntegrityError(
            "there is no root to trust",
            got=f"a certificate issued by {certificate.issuer.rfc4514_string()}",
            remedy="name a PEM file of trusted roots",
        )
    validator: Any = CertificateValidator(
        asn1_certificate(certificate), validation_context=validation_context(roots, at, chain)
    )
    try:
        path = asyncio.run(validator.async_validate_usage({"digital_signature"}))
    except (ValidationError, PathBuildingError, InvalidCertificateError) as error:
        raise IntegrityError(
            f"the certificate of {certificate.subject.rfc4514_string()} is not trusted",
            expected=f"a valid path at {at.isoformat()} to "
            + " or ".join(root.subject.rfc4514_string() for root in roots),
            got=" ".join(str(error).split()),
        ) from error
    anchor = path.trust_anchor.certificate
    return next(root for root in roots if asn1_certificate(root).dump() == anchor.dump())
