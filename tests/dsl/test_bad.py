"""Bad programs and what is said of them: tests/bad/NAME.gm and NAME.expected."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import gmc.runtime.words  # noqa: F401  fills the vocabulary
from gmc.dsl.check import check, load
from gmc.dsl.diagnostic import Diagnostic, GmcError, render_all
from gmc.dsl.errors.catalogue import catalogue, explain, page_path
from gmc.dsl.parser import parse
from gmc.dsl.source import Source
from gmc.dsl.vocabulary import VOCABULARY

BAD = Path(__file__).parent.parent / "bad"
PROGRAMS = sorted(BAD.glob("*.gm"))

WITH_PROGRAMS = ("GM1", "GM2", "GM3", "GM4", "GM5", "GM60", "GM9")
"""The groups of codes that a program alone can bring about: those of the parser and the checker."""

NO_PROGRAM = {"GM120", "GM121", "GM122", "GM209", "GM210", "GM219", "GM604"}
"""Codes of files that cannot be kept as a program, brought about below, and of the command line, brought about in the tests
of the checker."""


def diagnose(path: Path) -> tuple[Diagnostic, ...]:
    """All that is said of a file."""
    try:
        return load(path).warnings
    except GmcError as error:
        return error.diagnostics


def said_of(text: str, *, syntax_only: bool) -> tuple[Diagnostic, ...]:
    """All that is said of a text."""
    source = Source("page.gm", text)
    parsed = parse(source)
    if syntax_only or not parsed.ok:
        return parsed.diagnostics
    return check(parsed.file, source, VOCABULARY).diagnostics


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_bad_program(path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    found = diagnose(Path(path.name))
    assert found, "a bad program without a diagnostic"
    json.dumps([diagnostic.to_json() for diagnostic in found])
    golden(path.with_suffix(".expected"), render_all(found) + "\n")


def test_every_expectation_has_its_program() -> None:
    assert {path.stem for path in BAD.glob("*.expected")} <= {path.stem for path in PROGRAMS}


def test_a_program_brings_about_the_code_it_is_named_for() -> None:
    for path in PROGRAMS:
        named = re.match(r"(GM\d+)_", path.name)
        if named and named[1].startswith(WITH_PROGRAMS):
            assert named[1] in {diagnostic.code for diagnostic in diagnose(path)}, path.name


def test_every_code_has_a_bad_program() -> None:
    codes = {code for code in catalogue() if code.startswith(WITH_PROGRAMS)}
    shown = {diagnostic.code for path in PROGRAMS for diagnostic in diagnose(path)}
    assert codes - shown == NO_PROGRAM


def test_missing_file(tmp_path: Path) -> None:
    (found,) = diagnose(tmp_path / "no.gm")
    assert found.code == "GM120"
    assert found.span is None
    assert "no.gm" in found.render()


def test_directory(tmp_path: Path) -> None:
    assert [found.code for found in diagnose(tmp_path)] == ["GM121"]


def test_unreadable_path() -> None:
    assert [found.code for found in diagnose(Path("a\0b.gm"))] == ["GM122"]


PAGES = [code for code in catalogue() if code.startswith(WITH_PROGRAMS)]


@pytest.mark.parametrize("code", PAGES)
def test_page(code: str) -> None:
    page = explain(code.lower())
    assert page.startswith(f"# {code}: {catalogue()[code].title}\n")
    examples = re.findall(r"```gm\n(.*?)```", page, re.DOTALL)
    if examples:
        wrong, right = (said_of(text, syntax_only=code.startswith("GM1")) for text in examples)
        assert {found.code for found in wrong} == {code}
        assert not right


def test_pages_and_codes_agree() -> None:
    pages = {path.stem for path in page_path("GM101").parent.glob("GM*.md")}
    assert {page for page in pages if page.startswith(WITH_PROGRAMS)} == set(PAGES)
    with pytest.raises(KeyError):
        explain("GM000")
