"""The same chains on a GPU, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import gmc
from gmc.compiler import draws
from gmc.runtime.engine import Rows
from gmc.runtime.model import compile_file
from tests.slopes import step_on

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

PROGRAM = """
model m {
  observed v : bernoulli[6]
  latent   h : spin[5]
  latent   y : categorical(3)
  edge v -- h
  edge v -- y
  edge h -- h by lattice
}
chain half { clamp v[:3]  sweeps 5 }
chain free { start noise  sweeps 5 }
chain exchanging { start parallel_tempered(4, 3)  sweeps 5 }
chain led { start tempered(4, 3)  sweeps 5 }
chain settling { clamp v[:3]  update mean(0.2, 1e-4)  sweeps 50 }
"""


def test_words_are_the_same_on_both_devices() -> None:
    rows = torch.arange(100)
    here = draws.row_keys(3, "stream", rows)
    there = draws.row_keys(3, "stream", rows.cuda())
    assert torch.equal(here, there.cpu())
    pairs = zip(draws.words(here, 5, 7, 33), draws.words(there, 5, 7, 33), strict=True)
    assert all(torch.equal(a, b.cpu()) for a, b in pairs)


def test_chains_are_the_same_on_both_devices(tmp_path: Path) -> None:
    path = tmp_path / "m.gm"
    path.write_text(PROGRAM)
    clamp = {"v": torch.tensor([[0, 1, 1, 0, 0, 0]])}
    ends = []
    for device in ("cpu", "cuda"):
        model = compile_file(path)
        generator = torch.Generator().manual_seed(0)
        params = {p.name: torch.randn(p.shape, generator=generator) * 0.5 for p in model.compiled.graph.parameters}
        run = model.run(params, device)
        drawn = [run.sample(name, chains=200) for name in ("free", "exchanging", "led")]
        ends.append((*drawn, *(run.sample(name, chains=200, clamp=clamp) for name in ("half", "settling"))))
    for here, there in zip(*ends, strict=True):
        for name, value in here.values.items():
            # a draw may fall on the other side where the fields differ in the last bit
            assert ((value.double() - there.values[name].cpu().double()).abs() > 1e-4).float().mean() < 0.01


OBJECTIVES = """
model m {
  observed v : bernoulli[6]
  observed y : categorical(3)
  latent h : bernoulli[5]
  edge v -- h
  edge y -- h
}
chain up { clamp v, y }
chain infer { clamp v, y where observed  update mean  sweeps 3 }
objective fit = discriminative(y | v)
objective all = pseudo_likelihood
objective some = pseudo_likelihood(sites = 3)
objective guess = multi_prediction(infer)
objective few = sparsity(up, h)
"""


@pytest.mark.parametrize("objective", ["fit", "all", "some", "guess", "few"])
def test_objectives_are_the_same_on_both_devices(objective: str) -> None:
    compiled = gmc.compile(OBJECTIVES).compiled
    generator = torch.Generator().manual_seed(0)
    params = {p.name: torch.randn(p.shape, generator=generator) for p in compiled.graph.parameters}
    v = torch.randint(0, 2, (20, 6), generator=generator).float()
    y = torch.nn.functional.one_hot(torch.randint(0, 3, (20,), generator=generator), 3).float()
    found = []
    for device in ("cpu", "cuda"):
        for descent in compiled.descents(objective):
            for module in descent.graphs.values():
                module.to(device)
            rows = Rows({"v": v.to(device), "y": y.to(device)}, 20, torch.arange(20))
            step = step_on(compiled, {n: p.to(device) for n, p in params.items()}, rows, objective)
            found.append(descent.slope(step))
    assert float(found[0].loss) == pytest.approx(float(found[1].loss), rel=1e-4)
    for name, value in found[0].gradient.items():
        torch.testing.assert_close(value, found[1].gradient[name].cpu(), rtol=1e-3, atol=1e-4)
