"""What programs of an operating system are called, and what they consist of."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TRIPLES", "WASM", "System", "system_of"]

ELF, MACH_O, COFF, WASM = "elf", "mach-o", "coff", "wasm"


@dataclass(frozen=True)
class System:
    """An operating system.

    Args:
        name: as in triples.
        object_format: ``elf``, ``mach-o``, ``coff`` or ``wasm``.
        shared, static, executable: file names of libraries and programs; ``{}`` is the model's name.
        has_threads: whether programs start threads.
        one_piece: whether executables contain the model, instead of finding its library beside them.
    """

    name: str
    object_format: str = ELF
    shared: str = "lib{}.so"
    static: str = "lib{}.a"
    executable: str = "{}"
    has_threads: bool = True
    one_piece: bool = False

    @property
    def is_bare(self) -> bool:
        """Whether there is none: programs run on the processor alone."""
        return self.name == "freestanding"


_LINUX = System("linux")
_STATIC_LINUX = System("linux", one_piece=True)
_SYSTEMS = {
    # Its C library, bionic, comes with Google's kit alone: libraries find it on the device, executables bring musl.
    "android": System("android", one_piece=True),
    # No system at all, as on microcontrollers.
    "freestanding": System("freestanding", one_piece=True),
    "macos": System("macos", MACH_O, shared="lib{}.dylib", one_piece=True),
    # Modules of WebAssembly: the library imports nothing, so that browsers load it; the executable imports files.
    "wasi": System("wasi", WASM, shared="lib{}.wasm", executable="{}.wasm", has_threads=False, one_piece=True),
    "windows": System("windows", COFF, shared="{}.dll", executable="{}.exe", one_piece=True),
}

_WIDE = ("linux-gnu", "linux-musl", "linux-android", "macos", "windows-gnu")
TRIPLES = {
    "x86_64": _WIDE,
    "aarch64": _WIDE,
    "arm": ("linux-gnueabihf", "linux-musleabihf", "linux-gnueabi", "linux-musleabi"),
    "riscv64": ("linux-gnu", "linux-musl"),
    "wasm32": ("wasi",),
    "thumb": ("freestanding-eabi", "freestanding-eabihf"),
}
"""Systems by architecture, with their C library or how functions are called: all the triples that are targets."""


def system_of(triple: str) -> System:
    """The system of a triple; what is unknown is taken for Linux with a C library."""
    _, *rest = triple.split("-")
    for word in reversed(rest):
        if word in _SYSTEMS:
            return _SYSTEMS[word]
    return _STATIC_LINUX if rest and rest[-1].startswith("musl") else _LINUX
