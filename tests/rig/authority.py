"""A certificate authority of a test's own, made by the openssl command: servers and clients, good and bad ones."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_EXTENSIONS = (
    "basicConstraints=critical,CA:FALSE\nsubjectAltName={kind}:{name}\nextendedKeyUsage=serverAuth,clientAuth\n"
)


class Pair(NamedTuple):
    """Paths of a certificate and its private key."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates; `ca_file` is what those who trust it are given."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("the openssl command is not installed, so no certificate can be made")
        self._folder = folder
        self._count = 0
        self.ca_file = folder / "ca.pem"
        self._key = folder / "ca.key"
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "basicConstraints=critical,CA:TRUE")
        out = ("-keyout", str(self._key), "-out", str(self.ca_file))
        _openssl("req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=Test authority", *usage, *out)

    def issue(self, name: str, *, days: int = 2) -> Pair:
        """Return a new certificate for a name or address; with negative days it has expired."""
        self._count += 1
        stem = self._folder / f"issued-{self._count}"
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        pair = Pair(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        kind = "IP" if name.replace(".", "").isdigit() else "DNS"
        extensions.write_text(_EXTENSIONS.format(kind=kind, name=name))
        _openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", str(pair.key), "-out", str(request))
        signer = ("-CA", str(self.ca_file), "-CAkey", str(self._key), "-CAcreateserial")
        files = ("-in", str(request), "-out", str(pair.certificate), "-extfile", str(extensions))
        _openssl("x509", "-req", *signer, *files, "-days", str(days))
        return pair

    def server(self, name: str, *, days: int = 2, demands_certificate: bool = False) -> ssl.SSLContext:
        """Return a server's context with a new certificate; it may demand one of this authority from its clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, days=days))
        if demands_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca_file)
        return context

    def outdated(self, name: str) -> ssl.SSLContext:
        """Return a server's context with a good certificate that speaks nothing newer than TLS 1.1."""
        context = self.server(name)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that it is outdated is the point
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context

    def client(self) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority only."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
