"""Native libraries that must not meet in one process."""

from __future__ import annotations

import sys
from pathlib import Path


def keep_triton_away_from_mesa() -> None:
    """Stop torch from loading Triton where Mesa has already loaded its LLVM.

    Both bring an LLVM, and the second one to be loaded crashes the interpreter: seen
    with Triton 3.9 after a napari canvas on Mesa 22.3, which draws without a GPU. The
    other order works. Triton serves `torch.compile` alone, which nothing here uses; torch
    does without a package that cannot be imported. To be called before torch's first
    import in a process that may have a canvas; does nothing in any other.
    """
    if "triton" not in sys.modules and _mesa_llvm_is_loaded():
        sys.modules["triton"] = None  # type: ignore[assignment]  # import then fails cleanly


def _mesa_llvm_is_loaded() -> bool:
    maps = Path("/proc/self/maps")  # Linux only; Mesa is, too
    return maps.exists() and "libLLVM" in maps.read_text(encoding="utf-8", errors="replace")
