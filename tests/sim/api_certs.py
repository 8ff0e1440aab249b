"""Certificates for tests: a CA, a server for localhost and 127.0.0.1, a client (openssl(1))."""

import subprocess
from pathlib import Path


def make_ca(folder: Path, name: str = "ca") -> Path:
    """Make a CA; return its certificate. Its key is beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "30", "-subj", f"/CN={name}", "-keyout", str(folder / f"{name}.key")),
        *("-out", str(folder / f"{name}.crt")),
    )
    return folder / f"{name}.crt"


def make_certificate(ca: Path, name: str, *, usage: str) -> tuple[Path, Path]:
    """Make a certificate that a CA signs; return it and its key. ``usage``: ``serverAuth``."""
    folder = ca.parent
    key, request, certificate = (folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
    _openssl(
        *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", f"/O=tests/CN={name}", "-keyout", str(key), "-out", str(request)),
    )
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={usage}\n")
    _openssl(
        *(
            "x509",
            "-req",
            "-in",
            str(request),
            "-CA",
            str(ca),
            "-CAkey",
            str(ca.with_suffix(".key")),
        ),
        *("-CAcreateserial", "-days", "30", "-extfile", str(extensions), "-out", str(certificate)),
    )
    return certificate, key


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
