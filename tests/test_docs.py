"""README and docs: their programs check, their Python and their commands run, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import gmc.runtime.words  # noqa: F401
from gmc.compiler.passes import ORDER
from gmc.dsl.check import load_source
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.printer import format_source
from gmc.dsl.source import Source
from gmc.dsl.vocabulary import VOCABULARY
from tests.cli.invoking import invoke
from tests.test_examples import shorten

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *(path for path in sorted(DOCS.rglob("*.md")) if path.parent.name not in {"errors", "pictures"}),
]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page: its language, the mark after it, and where it begins."""

    page: Path
    language: str
    mark: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        if found[1] == language:
            yield Block(page, found[1], found[2].strip(), found[3], text.count("\n", 0, found.start()) + 1)


def all_blocks(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, language)]


def codes(text: str) -> list[str]:
    """The codes of all errors of a program."""
    try:
        load_source(Source("docs.gm", text))
    except GmcError as error:
        return [found.code for found in error.diagnostics if found.is_error]
    return []


@pytest.mark.parametrize("block", all_blocks("gm"), ids=str)
def test_program(block: Block) -> None:
    """A program checks; one marked `wrong` has a mistake, one marked `later` only what is not supported yet."""
    found = codes(block.text)
    match block.mark:
        case "":
            assert not found
        case "wrong":
            assert found and not any(code.startswith("GM9") for code in found)
        case "later":
            assert found and all(code.startswith("GM9") for code in found)
        case _:
            pytest.fail(f"{block}: what does `{block.mark}` mean?")
    assert format_source(block.text, "docs.gm") == block.text, f"{block} is not in the one style"


def test_what_is_said_to_come_later_is_refused_so() -> None:
    """Each form and word of the list in language.md is in fact not supported yet."""
    section = (DOCS / "language.md").read_text(encoding="utf-8").partition("cannot run yet\n\n")[2]
    model = "model m { observed x : bernoulli[4]  latent z : bernoulli[3]  edge x -- z }\nchain c { clamp x }\n"
    forms = {
        "`net`": "net n = linear(2)",
        "`backprop`": "chain d { backprop 1 }",
        "`sweeps uniform(a, b)`": "chain d { sweeps uniform(1, 3) }",
        "`test` statements": 'test "t" { assert exact > 0 }',
        **{f"`{word}`": f"objective o = {word}(c)" for word in ("autoencoder", "elbo", "vimco")},
    }
    for told, statement in forms.items():
        assert told in section
        found = codes(model + statement)
        assert found and all(code.startswith("GM9") for code in found), f"{told}: {found}"
    assert "`logistic_mixture`" in section
    assert codes("model m { observed x : logistic_mixture(3)[4] }") == ["GM902"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the examples in it."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reduced(code: str) -> str:
    """Python that trains for an epoch and samples for three sweeps."""
    return re.sub(r"sweeps=\d+", "sweeps=3", re.sub(r'"rounds": \d+', '"rounds": 1', code))


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("page", [p for p in PAGES if any(blocks(p, "python"))], ids=lambda p: p.name)
def test_python(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All Python of a page runs, in order; what it registers is forgotten afterwards."""
    monkeypatch.setattr(VOCABULARY, "_words", dict(VOCABULARY._words))
    passes = dict(ORDER)
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        text = block.text if page.name == "architecture.md" else reduced(block.text)
        # lines are counted as on the page
        exec(compile("\n" * block.line + text, str(page), "exec", dont_inherit=True), names)
    assert passes == ORDER


def command_lines(page: Path) -> list[str]:
    """The lines of a page that begin with `gmc`, without those that only say what they would do."""
    return [line for block in blocks(page, "sh") for line in block.text.splitlines() if line.startswith("gmc ")]


def test_readme_has_commands() -> None:
    assert {line.split()[1] for line in command_lines(ROOT / "README.md")} >= {
        "check",
        "schedule",
        "compile",
        "sample",
        "eval",
    }


@pytest.mark.parametrize("page", [p for p in PAGES if command_lines(p)], ids=lambda p: p.name)
def test_commands(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of a page works, in order; training and sampling are shortened."""
    shorten(monkeypatch)
    for line in command_lines(page):
        words = shlex.split(line, comments=True)[1:]
        if words[0] == "compile" and "--train" in words:
            words += ["--set", "rounds=1"]
        result = invoke(*words)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        for option in ("-o", "--out"):
            if option in words:
                wanted = desk / words[words.index(option) + 1]
                # where graphviz is not installed the picture's text is written
                drawn = words[0] not in ("graph", "schedule") or shutil.which("dot") is not None
                assert (wanted if drawn else wanted.with_suffix(".dot")).exists(), line


def test_the_readme_shows_the_example_as_it_is() -> None:
    (block,) = blocks(ROOT / "README.md", "gm")
    assert block.text == (ROOT / "examples/rbm.gm").read_text(encoding="utf-8")


def test_words_are_up_to_date() -> None:
    spec = spec_from_file_location("make_words", DOCS / "make_words.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    kept = (DOCS / "words.md").read_text(encoding="utf-8")
    assert kept == module.page(), "run `python docs/make_words.py`"
    for word in VOCABULARY.words():
        assert f"\n### {word.word}\n" in kept


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links(page: Path) -> None:
    """Every link to a file leads to one, and every anchor to a heading."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(place), f"{page.name}: {target}"


def test_every_picture_is_shown() -> None:
    shown = {Path(target).name for page in PAGES for target in LINK.findall(page.read_text(encoding="utf-8"))}
    assert {path.name for path in (DOCS / "pictures").iterdir() if path.suffix in {".svg", ".png"}} <= shown
