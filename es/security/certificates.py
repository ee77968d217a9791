"""An authority of a cluster's own and the certificates of its nodes, so that every connection is encrypted and nodes know each other."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import CertificateBuilder, GeneralName, Name

_LIFE = timedelta(days=3 * 365)
_ENDING = timedelta(days=90)
_EARLIER = timedelta(minutes=5)  # clocks differ


@dataclass(frozen=True, repr=False)
class Pair:
    """A certificate and its private key, both PEM text. Its ``repr`` shows neither."""

    certificate: str
    key: str


def authority(name: str, kept: str | None = None) -> Pair:
    """An authority, good for three years: EC P-256, as Elastic's own tools accept it.

    Args:
        name: of whom it is.
        kept: the key of an earlier one of this name, which is renewed: what that one signed is good for this one.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1()) if kept is None else _signing_key(kept)
    subject = _name(f"{name} authority")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    made = _builder(subject, subject, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(usage, critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _pair(made, key, key)


def node_certificate(signer: Pair, name: str, addresses: Iterable[str]) -> Pair:
    """A node's certificate, for both directions: nodes are each other's clients.

    Args:
        signer: of :func:`authority`.
        name: of the node.
        addresses: host names and IP addresses at which it is reached.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    above = x509.load_pem_x509_certificate(signer.certificate.encode())
    signing_key = _signing_key(signer.key)
    key = ec.generate_private_key(ec.SECP256R1())
    made = _builder(_name(name), above.subject, key)
    made = made.add_extension(x509.SubjectAlternativeName([_general(address) for address in addresses]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    # By these OpenSSL tells authorities apart; it wants them where it is strict, as Python is from 3.13 on.
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    pair = _pair(made.add_extension(both, critical=False), key, signing_key)
    # With the authority's behind it, as a server sends them: a client that knows only the authority's fingerprint can tell.
    return Pair(pair.certificate + signer.certificate, pair.key)


def is_ending(certificate: str) -> bool:
    """Whether a PEM certificate (the first, of several) is over, or will be within 90 days."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc < datetime.now(UTC) + _ENDING


def fingerprint(certificate: str) -> str:
    """SHA-256 of a PEM certificate's DER bytes, as 64 hexadecimal digits: what Elastic's tools call a CA's fingerprint."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    return x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA256()).hex()


def _signing_key(key: str) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    loaded = serialization.load_pem_private_key(key.encode(), password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not one that authority() made")
    return loaded


def _builder(subject: Name, issuer: Name, key: EllipticCurvePrivateKey) -> CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _LIFE)
    )


def _pair(made: CertificateBuilder, key: EllipticCurvePrivateKey, signing_key: EllipticCurvePrivateKey) -> Pair:
    from cryptography.hazmat.primitives import hashes, serialization

    certificate = made.sign(signing_key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode())


def _name(common: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general(address: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)
