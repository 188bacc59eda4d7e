"""What a file is that is no TIFF, by its first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

READ_FORMATS = "NeuroBridge reads TIFF, OME-TIFF, OME-Zarr and CSV"

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG"
_SIGNATURES = (
    (0, _PNG, "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"BM", "a BMP image"),
    (8, b"WEBP", "a WebP image"),
    (8, b"AVI ", "an AVI film"),
    (4, b"ftyp", "an MP4 film"),
    (4, b"jP  ", "a JPEG 2000 image"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"ZISRAWFILE", "a CZI image of Zeiss"),
    (0, b"\xda\xce\xbe\x0a", "an ND2 image of Nikon"),
    (0, b"\x70\0\0\0", "a LIF image of Leica"),
    (0, b"NRRD", "an NRRD image"),
    (344, b"n+1", "a NIfTI image"),
    (208, b"MAP ", "an MRC image"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"%PDF", "a PDF document"),
)
_LONGEST = max(offset + len(mark) for offset, mark, _ in _SIGNATURES)


def starts_like_tiff(path: Path) -> bool:
    """Return whether a file begins as each TIFF and BigTIFF does."""
    return _first_bytes(path)[:4] in _TIFF


def starts_like_png(path: Path) -> bool:
    """Return whether a file begins as each PNG image does."""
    return _first_bytes(path).startswith(_PNG)


def describe_foreign_file(path: Path) -> str:
    """Return what a file that does not begin like a TIFF is, as far as its bytes tell.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    first = _first_bytes(path)
    if not first:
        return "an empty file"
    for offset, mark, name in _SIGNATURES:
        if first[offset : offset + len(mark)] == mark:
            return name
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return "a table or text"
    return "no TIFF image"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(_LONGEST)
