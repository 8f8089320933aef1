"""gmc: a compiler for graphical models that emits torch.fx programs."""

from importlib.metadata import version as _version

__version__ = _version("gmc-lang")
