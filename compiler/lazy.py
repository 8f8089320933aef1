"""torch, loaded when something first asks it for an attribute.

Modules that hold registered words import `torch` from here, so that reading the vocabulary, and with it `gmc check`, does not wait for
torch to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch as torch
else:
    import importlib

    class _Lazy:
        """Stands for a module until its first attribute is read."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            return getattr(importlib.import_module(self._name), attribute)

        def __repr__(self) -> str:
            return f"<lazy module {self._name}>"

    torch = _Lazy("torch")

__all__ = ["torch"]
