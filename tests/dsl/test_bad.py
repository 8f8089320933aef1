"""Bad programs and what is said of them: tests/bad/NAME.gm and NAME.expected."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gmc.dsl.diagnostic import Diagnostic, GmcError, render_all
from gmc.dsl.errors.catalogue import catalogue, explain, page_path
from gmc.dsl.parser import load, parse
from gmc.dsl.source import Source

BAD = Path(__file__).parent.parent / "bad"
PROGRAMS = sorted(BAD.glob("*.gm"))

WITH_PROGRAMS = ("GM1",)
"""The groups of codes that this harness can bring about so far."""

NO_PROGRAM = {"GM120", "GM121", "GM122"}
"""Codes about files that cannot be kept as a program; they are brought about below."""


def diagnose(path: Path) -> tuple[Diagnostic, ...]:
    """All that is said of a file."""
    try:
        return load(path).diagnostics
    except GmcError as error:
        return error.diagnostics


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
        wrong, right = (parse(Source("page.gm", text)).diagnostics for text in examples)
        assert {found.code for found in wrong} == {code}
        assert not right


def test_pages_and_codes_agree() -> None:
    pages = {path.stem for path in page_path("GM101").parent.glob("GM1*.md")}
    assert pages == set(PAGES)
    with pytest.raises(KeyError):
        explain("GM000")
