"""Every diagnostic about evaluations is brought about here, and has its page."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

import gmc
from gmc.dsl.diagnostic import Diagnostic, GmcError, Severity
from gmc.dsl.errors.catalogue import catalogue, explain, page_path
from gmc.runtime.evaluation import Evaluation

MODEL = """
model m { observed v : bernoulli[3, 3]  latent h : bernoulli[4]  latent g : bernoulli[3]  edge v -- h  edge h -- g }
data digits { v = image | crop(3, 3) | threshold(0.5) }
"""
CODES = {"GM750", "GM751", "GM752", "GM753", "GM754", "GM755"}


def run_of(scale: float = 1.0) -> gmc.Run:
    model = gmc.compile(MODEL)
    generator = torch.Generator().manual_seed(0)
    shapes = {p.name: p.shape for p in model.compiled.graph.parameters}
    return model.run({name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()})


def evaluate(*words: object, scale: float = 1.0, **options: object) -> Evaluation:
    return run_of(scale).evaluate(*words, split="train", rows=20, **options)  # type: ignore[arg-type]


def refused(call: Callable[[], object], exit_code: int) -> Diagnostic:
    with pytest.raises(GmcError) as caught:
        call()
    assert caught.value.exit_code == exit_code
    (found,) = caught.value.diagnostics
    return found


def test_pages() -> None:
    assert {code for code in catalogue() if code.startswith("GM75")} == CODES
    assert {path.stem for path in page_path("GM750").parent.glob("GM75*.md")} == CODES
    for code in CODES:
        assert explain(code).startswith(f"# {code}: {catalogue()[code].title}\n\n")
        assert len(re.findall(r"^## (?:Wrong|Right)$", explain(code), re.MULTILINE)) == 2


@pytest.mark.parametrize("method", ["ais", "raise"])
def test_uneven_weights(method: str) -> None:
    found = evaluate(method, chains=50, temperatures=1, scale=6.0)
    assert {w.code for w in found.warnings} == {"GM750"}
    assert all(w.severity is Severity.WARNING and w.help and "--temperatures" in w.help for w in found.warnings)
    assert not evaluate(method, chains=50, temperatures=100).warnings


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("exact", {"chains": 3}),
        ("exact", {"devices": ("cpu", "cpu")}),
        ("pseudo", {"temperatures": 10}),
        ("raise", {"reverse": True}),
        ("ais", {"damping": 0.1}),
    ],
)
def test_option_of_another_method(method: str, options: dict[str, object]) -> None:
    found = refused(lambda: evaluate(method, **options), 2)
    assert found.code == "GM751" and found.help is not None and "ais" in found.help + method


def test_mean_field_that_has_not_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gmc.runtime.meanfield.MOST", 10)
    (found,) = evaluate("bound", damping=0.99).warnings
    assert found.code == "GM752" and "20 of 20 rows" in found.message


@pytest.mark.parametrize("given", ["many", "0", "adaptive:2", -1])
def test_temperatures_that_are_none(given: str | int) -> None:
    assert refused(lambda: evaluate("ais", temperatures=given), 2).code == "GM753"


def test_too_many_temperatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gmc.runtime.temperatures.MOST", 20)
    assert refused(lambda: evaluate("ais", temperatures="adaptive:0.99999"), 1).code == "GM754"


@pytest.mark.parametrize("options", [{"damping": 1.0}, {"tolerance": -0.1}])
def test_share_out_of_range(options: dict[str, float]) -> None:
    assert refused(lambda: evaluate("bound", **options), 2).code == "GM755"


@pytest.mark.parametrize("options", [{"rows": 0}, {"seed": -1}])
def test_numbers_out_of_range(options: dict[str, int]) -> None:
    assert refused(lambda: run_of().evaluate("exact", "train", **options), 2).code == "GM738"  # type: ignore[arg-type]
    assert refused(lambda: evaluate("ais", chains=0), 2).code == "GM738"
