"""Throw-away certificates, good and bad, made by the `openssl` program; they live as long as their directory."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import ssl
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path

from watcher.errors import EnvironmentProblem

_CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = watcher test
[ca]
dir = {directory}
new_certs_dir = $dir
database = $dir/index
unique_subject = no
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = none
[any]
commonName = supplied
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:false
extendedKeyUsage = serverAuth
subjectAltName = {names}
[client]
basicConstraints = CA:false
extendedKeyUsage = clientAuth
subjectAltName = {names}
[unnamed]
basicConstraints = CA:false
extendedKeyUsage = serverAuth
[other]
basicConstraints = CA:false
extendedKeyUsage = serverAuth
subjectAltName = DNS:elsewhere.example
"""




@dataclasses.dataclass(frozen=True, slots=True)
class _Recipe:
    """How a certificate is made; `extensions` names a section above, `days` count from today."""

    issuer: str = "ca"  # itself: signs itself
    extensions: str = "server"
    key: str = "leaf"
    days: tuple[int, int] = (-1, 30)
    digest: str = "sha256"
    sends_issuer: bool = False


_RECIPES = {
    "ca": _Recipe("ca", "root", "ca"),
    "stranger": _Recipe("stranger", "root", "stranger"),
    "between": _Recipe(extensions="root", key="between"),
    "not-allowed": _Recipe(key="not-allowed"),
    "certificate-expired": _Recipe(days=(-30, -1)),
    "certificate-not-yet": _Recipe(days=(1, 30)),
    "certificate-other-name": _Recipe(extensions="other"),
    "certificate-no-name": _Recipe(extensions="unnamed"),
    "certificate-self-signed": _Recipe("certificate-self-signed"),
    "certificate-unknown-ca": _Recipe("stranger"),
    "certificate-no-chain": _Recipe("between"),
    "certificate-not-a-server": _Recipe(extensions="client"),
    "certificate-not-a-ca": _Recipe("not-allowed", sends_issuer=True),
    "certificate-weak-key": _Recipe(key="rsa1024"),
    "certificate-sha1": _Recipe(digest="sha1"),
}
_WEAK = ("tls-old", "certificate-weak-key", "certificate-sha1")


class Certificates:
    """An authority in a directory; each certificate is made when it is asked for.

    Args:
        directory: where everything is written; whoever made it removes it.
        hosts: names and addresses that the certificates are valid for.

    Raises:
        EnvironmentProblem: there is no `openssl` program, or it fails.
    """

    def __init__(self, directory: Path, hosts: Sequence[str]) -> None:
        self._directory = directory
        self._name = hosts[0]
        names = ",".join(map(_alternative_name, hosts))
        (directory / "config").write_text(_CONFIG.format(directory=directory, names=names), encoding="ascii")
        (directory / "index").touch()
        self.ca_file = self._certificate("ca")

    def context(self, kind: str = "good") -> ssl.SSLContext:
        """Make the server side's TLS settings: good ones, or those of a trap."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if kind in _WEAK:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else what is weak is refused on this side already
        if kind == "tls-old":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.maximum_version = ssl.TLSVersion.TLSv1_1
        if kind == "tls-client-certificate":
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca_file)
        context.load_cert_chain(self._certificate(kind), self._key(_RECIPES.get(kind, _Recipe()).key))
        return context

    def _certificate(self, name: str) -> Path:
        """Give a certificate's file; it is made, and whoever signs it, when it is not there yet."""
        certificate = self._directory / f"{name}.pem"
        if certificate.exists():
            return certificate
        recipe = _RECIPES.get(name, _Recipe())
        key = self._key(recipe.key)
        subject = self._name if recipe.key == "leaf" else f"watcher test {name}"
        request = ("req", "-new", "-key", key, "-subj", f"/CN={subject}")
        if recipe.issuer == name:
            self._openssl(*request, "-x509", "-days", "30", "-extensions", recipe.extensions, "-out", certificate)
            return certificate
        issuer = self._certificate(recipe.issuer)
        asked, signing = self._directory / f"{name}.csr", self._key(_RECIPES[recipe.issuer].key)
        self._openssl(*request, "-out", asked)
        self._openssl(
            "ca", "-batch", "-notext", "-name", "ca", "-cert", issuer, "-keyfile", signing, "-md", recipe.digest,
            "-startdate", _day(recipe.days[0]), "-enddate", _day(recipe.days[1]),
            "-extensions", recipe.extensions, "-in", asked, "-out", certificate,
        )  # fmt: skip
        if recipe.sends_issuer:
            certificate.write_bytes(certificate.read_bytes() + issuer.read_bytes())
        return certificate

    def _key(self, name: str) -> Path:
        """Give a private key's file; it is made when it is not there yet."""
        key = self._directory / f"{name}.key"
        if not key.exists():
            kind = ("RSA", "rsa_keygen_bits:1024") if name == "rsa1024" else ("EC", "ec_paramgen_curve:P-256")
            self._openssl("genpkey", "-algorithm", kind[0], "-pkeyopt", kind[1], "-out", key)
        return key

    def _openssl(self, command: str, *arguments: str | Path) -> None:
        """Run the `openssl` program."""
        config = () if command == "genpkey" else ("-config", self._directory / "config")
        try:
            subprocess.run(["openssl", command, *config, *arguments], check=True, capture_output=True, timeout=60)
        except FileNotFoundError:
            raise EnvironmentProblem(
                "a throw-away certificate needs the program `openssl`: install it, or give --certificate and --key"
            ) from None
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().replace("\n", "; ")
            raise EnvironmentProblem(f"openssl {command} failed: {said}") from None


def _alternative_name(host: str) -> str:
    """Write a host as in an extension of OpenSSL's."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"DNS:{host}"
    return f"IP:{host}"


def _day(days: int) -> str:
    """Write the time some days from now as ASN.1 does."""
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return at.strftime("%Y%m%d%H%M%SZ")
