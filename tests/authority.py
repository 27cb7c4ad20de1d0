"""A certificate authority made for one test run, and what it vouches for: localhost and 127.0.0.1."""

import subprocess
from pathlib import Path
from typing import NamedTuple

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Authority(NamedTuple):
    """Paths of PEM files: who is to be believed, and a server's certificate with its key."""

    ca: Path
    certificate: Path
    key: Path


def authority(folder: Path, name: str = "test") -> Authority:
    """A new authority and one server certificate by it, good for a day. Nothing of it is kept."""
    ca, ca_key = folder / f"{name}-ca.pem", folder / f"{name}-ca.key"
    server = Authority(ca, folder / f"{name}-server.pem", folder / f"{name}-server.key")
    request, names = folder / f"{name}.csr", folder / f"{name}.ext"
    names.write_text(f"{_NAMES}\nbasicConstraints=CA:FALSE\n")
    fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    _openssl(
        "req", "-x509", *fresh, "-keyout", ca_key, "-out", ca, "-subj", f"/CN={name} authority"
    )
    _openssl("req", *fresh[:-2], "-keyout", server.key, "-out", request, "-subj", "/CN=localhost")
    _openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "1",
        "-extfile", names, "-out", server.certificate,
    )  # fmt: skip
    return server


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
