"""What the checker's tests share: programs in pieces, and short ways to what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gmc.dsl.check import check
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.dsl.errors.syntax import file_not_found
from gmc.dsl.model import Checked
from gmc.dsl.parser import parse
from gmc.dsl.source import Source
from tests.dsl.words import WORDS

MODEL = """
model m {
  observed v : bernoulli[8, 8]
  latent   h : bernoulli[16]
  edge v -- h
}
"""
DATA = "data digits { v = image | threshold(0.5) }\n"
CHAINS = "chain posterior { clamp v }\nchain negative { start persistent(10) }\n"
OBJECTIVE = "objective nll = likelihood(positive = posterior, negative = negative)\n"
BEFORE_TRAIN = MODEL + DATA + CHAINS + OBJECTIVE
TRAIN = "train { minimize nll using sgd(lr = 0.1)  batch 10  epochs 2 }\n"


def found(
    text: str,
    overrides: Mapping[str, str] | None = None,
    data_path: str | None = None,
    files: Mapping[str, str] | None = None,
) -> tuple[Diagnostic, ...]:
    """All that the checker says of a text that parses; `files` are those that it may import."""
    return _check(text, overrides, data_path, files)[1]


def codes(text: str, **more: object) -> list[str]:
    """The codes of all that the checker says, in order of place."""
    return [diagnostic.code for diagnostic in found(text, **more)]  # type: ignore[arg-type]


def checked(
    text: str,
    overrides: Mapping[str, str] | None = None,
    data_path: str | None = None,
    files: Mapping[str, str] | None = None,
) -> Checked:
    """What a text without any mistake means."""
    result, diagnostics = _check(text, overrides, data_path, files)
    assert result is not None, "\n".join(map(str, diagnostics))
    assert not diagnostics, "\n".join(map(str, diagnostics))
    return result


def _check(
    text: str, overrides: Mapping[str, str] | None, data_path: str | None, files: Mapping[str, str] | None
) -> tuple[Checked | None, tuple[Diagnostic, ...]]:
    source = Source("dir/test.gm", text)
    parsed = parse(source)
    assert parsed.ok, "\n".join(map(str, parsed.diagnostics))

    def load(path: Path) -> Source:
        if files is None or str(path) not in files:
            raise GmcError(file_not_found(None, str(path)))
        return Source(str(path), files[str(path)])

    result = check(parsed.file, source, WORDS, overrides, data_path, load)
    assert (result.checked is None) == any(diagnostic.is_error for diagnostic in result.diagnostics)
    return result.checked, result.diagnostics
