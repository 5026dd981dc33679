"""Recognises files that are not ONNX by their first bytes, so that the message can say what they are."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROBE_BYTES", "FileType", "recognise"]

PROBE_BYTES = 512


@dataclass(frozen=True)
class FileType:
    """A file format that is often mistaken for ONNX: what it is, and how to get ONNX from it."""

    name: str
    hint: str = "Give a model in ONNX format."


_TORCH = "Export it with torch.onnx.export(model, example, 'model.onnx')."
_PREFIXES: tuple[tuple[bytes, FileType], ...] = (
    (b"PK\x03\x04", FileType("a ZIP archive, such as a PyTorch checkpoint (.pt, .pth), .keras or .npz", _TORCH)),
    (b"\x89HDF\r\n\x1a\n", FileType("an HDF5 file, such as a Keras model (.h5)", "Convert it with tf2onnx.")),
    (b"version https://git-lfs", FileType("a Git LFS pointer, not the model itself", "Fetch it with 'git lfs pull'.")),
    (b"\x1f\x8b", FileType("a gzip archive", "Unpack it first.")),
    (b"BZh", FileType("a bzip2 archive", "Unpack it first.")),
    (b"\xfd7zXZ\x00", FileType("an xz archive", "Unpack it first.")),
    (b"7z\xbc\xaf\x27\x1c", FileType("a 7-Zip archive", "Unpack it first.")),
    (b"GGUF", FileType("a GGUF model")),
    (b"7767517\n", FileType("an ncnn parameter file")),
    (b"\x93NUMPY", FileType("a NumPy array")),
    (b"\x7fELF", FileType("a compiled program")),
    (b"\x89PNG", FileType("a PNG image")),
    (b"\xff\xd8\xff", FileType("a JPEG image")),
    (b"%PDF", FileType("a PDF document")),
    *((bytes([0x80, n]), FileType("a Python pickle, such as an old PyTorch checkpoint", _TORCH)) for n in range(2, 6)),
)
_AT_4: dict[bytes, FileType] = {
    b"TFL3": FileType("a TensorFlow Lite model", "Convert it with 'python -m tf2onnx.convert --tflite'."),
    b"ORTM": FileType("a model in ONNX Runtime's own ORT format", "Give the ONNX file that it was made from."),
}
_HTML = FileType("an HTML page", "The download fetched a web page; use the link to the raw file.")


def recognise(head: bytes) -> FileType | None:
    """The format that the first ``PROBE_BYTES`` bytes of a file show, or None where it may be ONNX."""
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    if head[4:8] in _AT_4:
        return _AT_4[head[4:8]]
    if head[8:9] == b"{" and head[:8].endswith(b"\x00\x00\x00\x00"):
        return FileType("a safetensors file")
    if head[257:262] == b"ustar":
        return FileType("a tar archive", "Unpack it first.")
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return _HTML
    return FileType("a JSON file") if text.startswith((b"{", b"[")) else None
