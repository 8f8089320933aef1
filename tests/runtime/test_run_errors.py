"""Every diagnostic about runs is brought about somewhere, here where nowhere else, and has its page."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import gmc
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.dsl.errors.catalogue import catalogue, explain, page_path
from gmc.runtime import run_errors
from gmc.runtime.blame import located
from gmc.runtime.tensor_data import TensorData
from gmc.runtime.train import Trainer

MODEL = """\
model m {
  observed v : bernoulli[2, 3]
  observed y : bernoulli
  latent   h : bernoulli[3]
  edge v -- h
  edge y -- h
}
"""
CHAINS = """
chain positive { clamp v, y }
chain negative { start persistent(4)  sweeps 2 }
chain complete { clamp v  sweeps 2 }
"""
TRAIN = """
objective nll = likelihood(positive = positive, negative = negative)
train { minimize nll using sgd(lr = 0.05)  batch 3  epochs 2 }
"""
DATA = "data digits { v = image | crop(2, 3) | threshold(0.5)  y = label | threshold(4.5) }\n"
ROWS = {"v": torch.ones(5, 2, 3), "y": torch.zeros(5)}
CODES = [code for code in catalogue() if "GM710" <= code < "GM750"]


def raised(call: Callable[[], object]) -> Diagnostic:
    """The one diagnostic of a call."""
    with pytest.raises(GmcError) as caught:
        call()
    (found,) = caught.value.diagnostics
    return found


def run_of(text: str = MODEL + CHAINS) -> gmc.Run:
    model = gmc.compile(text)
    generator = torch.Generator().manual_seed(0)
    return model.run({p.name: torch.randn(p.shape, generator=generator) for p in model.compiled.graph.parameters})


# ── Pages ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", CODES)
def test_page(code: str) -> None:
    page = explain(code)
    assert page.startswith(f"# {code}: {catalogue()[code].title}\n\n")
    assert len(re.findall(r"^## (?:Wrong|Right)$", page, re.MULTILINE)) in {0, 2}


def test_pages_and_codes_agree() -> None:
    assert {path.stem for path in page_path("GM710").parent.glob("GM7[1-4]*.md")} == set(CODES)


def test_every_code_is_brought_about_by_a_test() -> None:
    tests = Path(__file__).parent
    text = "".join(
        (tests / name).read_text()
        for name in ("test_bad_runs.py", "test_run_errors.py", "test_resume.py", "test_stopping.py")
    )
    assert [code for code in CODES if f'"{code}"' not in text] == []


# ── What other tests leave out ───────────────────────────────────────────────────────────────────────────────────────


def test_nothing_to_train() -> None:
    model = gmc.compile(MODEL + CHAINS)
    assert raised(lambda: model.train(data=ROWS)).code == "GM712"


def test_a_trained_run_is_not_lost_to_an_untrained_one(tmp_path: Path) -> None:
    model = gmc.compile(MODEL + CHAINS + TRAIN + DATA)
    model.train(tmp_path / "run", data=ROWS)
    weights = (tmp_path / "run" / "weights.safetensors").read_bytes()
    assert raised(lambda: model.save(tmp_path / "run")).code == "GM727"
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == weights
    untrained = model.save(tmp_path / "other", seed=3)
    assert set(untrained.params) == {p.name for p in model.compiled.graph.parameters}


def test_no_training_rows() -> None:
    """Where no chain of a stage clamps data, the checker lets that pass."""
    data = "data digits(held_out = 3) { test y = test_label | threshold(4.5) }\n"
    text = MODEL + CHAINS.replace("clamp v, y }", "clamp y = 1 }") + TRAIN + data
    assert raised(lambda: gmc.compile(text).train()).code == "GM713"


def test_variables_without_rows() -> None:
    found = raised(lambda: gmc.compile(MODEL + CHAINS + TRAIN + DATA).train(data={"v": ROWS["v"]}))
    assert (found.code, found.span is not None) == ("GM714", True)


def test_too_large_to_sum() -> None:
    large = MODEL.replace("[3]", "[40]").replace("[2, 3]", "[6, 6]")
    run = run_of(large + CHAINS)
    found = raised(lambda: run.log_likelihood({"v": torch.zeros(6, 6)}))
    assert found.code == "GM711"
    assert "more than 25 bits" in found.message
    exact = CHAINS + TRAIN.replace("negative = negative", "negative = exact(negative)") + DATA
    small = gmc.compile(MODEL + exact).train(data=ROWS)
    assert all(bool(torch.isfinite(p).all()) for p in small.params.values())
    rows = {"v": torch.ones(5, 6, 6), "y": torch.zeros(5)}
    found = raised(lambda: gmc.compile(large + exact).train(data=rows))
    assert found.code == "GM711"
    assert found.span is not None
    assert found.span.text.startswith("chain negative")


def test_methods_that_do_not_apply() -> None:
    text = (MODEL + CHAINS + DATA).replace("y : bernoulli", "y : normal")
    found = raised(lambda: run_of(text).evaluate("pseudo", "train"))
    assert found.code == "GM740"
    assert "y is not finite" in found.message


def test_nothing_to_clamp_to() -> None:
    found = raised(lambda: run_of().sample("complete"))
    assert found.code == "GM733"
    assert found.help == "give `--clamp v=SOURCE`"


def test_starts_in_circles() -> None:
    run = run_of(MODEL + CHAINS + "chain later { start negative }\nchain last { clamp h from later }\n")
    found = raised(lambda: run.sample("negative", start="last", chains=2))
    assert (found.code, found.span is not None) == ("GM744", True)
    assert "from where `last` ends, which needs `negative` itself" in found.message
    found = raised(lambda: run.sample("later", start="later", chains=2))
    assert (found.code, found.message) == ("GM744", "chain `later` cannot start from where it ends itself")
    assert raised(lambda: run.sample("later", start="nowhere")).code == "GM730"
    assert run.sample("later", start="negative", chains=2).values["v"].shape == (2, 2, 3)


def test_kept_sweeps() -> None:
    run = run_of()
    assert raised(lambda: run.sample("negative", burn=1)).code == "GM748"
    assert raised(lambda: run.sample("negative", burn=2, every=1)).code == "GM749"
    assert raised(lambda: run.average("negative", burn=2)).code == "GM749"
    assert raised(lambda: run.sample("negative", every=0)).code == "GM738"
    assert raised(lambda: run.sample("negative", every=1, burn=-1)).code == "GM738"
    assert raised(lambda: run.diagnose("negative", sweeps=2)).code == "GM747"


def test_predictions() -> None:
    run = run_of(MODEL + CHAINS + DATA)
    assert raised(lambda: run.predict("complete", "v", split="train")).code == "GM745"
    assert raised(lambda: run.predict("complete", "h", split="train")).code == "GM746"


def test_no_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    model = gmc.compile(MODEL + CHAINS + TRAIN + DATA)
    assert raised(lambda: model.train(tmp_path / "run", data=ROWS, tensorboard=True)).code == "GM737"


# ── Failures inside graphs ───────────────────────────────────────────────────────────────────────────────────────────


def line_of(found: Diagnostic) -> str:
    """The line that a failure is said to come from."""
    assert found.code == "GM742"
    assert found.span is not None
    assert [related.span.text.startswith("model m") for related in found.related] == [True]
    return found.span.source.line(found.span.line).strip()


def test_a_failure_in_sampling_names_the_edge(capfd: pytest.CaptureFixture[str]) -> None:
    run = run_of()
    run.params["y_h.weight"] = torch.zeros(2, 2)
    found = raised(lambda: run.sample("negative", chains=3))
    assert line_of(found) == "edge y -- h"
    assert "running what this says failed: mat1 and mat2 shapes cannot be multiplied" in found.message
    # what a clamped variable sends is computed once, in a graph of its own
    run = run_of()
    run.params["v_h.weight"] = torch.zeros(2, 2)
    clamp = {"v": torch.zeros(2, 3)}
    assert line_of(raised(lambda: run.sample("complete", clamp=clamp))) == "edge v -- h"
    assert capfd.readouterr().err == "", "torch's own report of generated code is for nobody"
    run.params["v_h.weight"] = torch.zeros(6, 3)
    assert run.sample("complete", clamp=clamp).values["y"].shape == (1,)


def test_a_failure_in_a_bias_names_the_variable() -> None:
    run = run_of()
    run.params["h.bias"] = torch.zeros(7)
    assert line_of(raised(lambda: run.sample("negative"))) == "latent   h : bernoulli[3]"


def test_a_failure_in_evaluation_names_the_edge() -> None:
    run = run_of()
    run.params["y_h.weight"] = torch.zeros(2, 2)
    assert line_of(raised(lambda: run.log_likelihood(ROWS))) == "edge y -- h"


def test_a_failure_in_training_names_the_edge() -> None:
    compiled = gmc.compile(MODEL + CHAINS + TRAIN + DATA).compiled
    rows = TensorData.of(compiled, ROWS, torch.device("cpu"), torch.float32)
    params = {p.name: torch.zeros(p.shape) for p in compiled.graph.parameters}
    trainer = Trainer(compiled, rows, params, 0)
    steps = trainer.advance(lambda stage: {})
    assert next(steps) is None
    trainer.params["v_h.weight"] = torch.zeros(2, 2)
    assert line_of(raised(lambda: next(steps))) == "edge v -- h"


def test_only_failures_of_graphs_are_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    span = gmc.compile(MODEL).checked.model.span
    calls: list[int] = []

    def fail(error: Exception) -> Callable[[], None]:
        def call() -> None:
            calls.append(1)
            raise error

        return call

    with pytest.raises(KeyError):
        located(span, fail(KeyError("a bug elsewhere")))
    assert len(calls) == 2
    with pytest.raises(MemoryError, match="can't allocate memory"):
        located(span, fail(RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes\nand more")))
    given = GmcError([run_errors.no_tensorboard(None)])
    with pytest.raises(GmcError) as caught:
        located(span, fail(given))
    assert caught.value is given
    assert len(calls) == 4

    def speak() -> int:
        print("heard", file=sys.stderr)
        return 3

    assert located(span, speak) == 3
    assert capsys.readouterr().err == "heard\n"
    assert not torch.nn.modules.module._global_forward_pre_hooks


def test_weights_without_a_law() -> None:
    """A coupling of two normal sites that is greater than their precisions hold."""
    model = gmc.compile("model m { observed x : normal[2]  edge x -- x }")
    found = raised(lambda: model.run({"x.bias": torch.zeros(2), "x_x.weight": 1.5 * (1 - torch.eye(2))}))
    assert found.code == "GM743"
    assert "positive definite" in found.message
