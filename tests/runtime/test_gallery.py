"""Pictures after a training on few rows, and values that no 32-bit number holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import gmc
from gmc.dsl.diagnostic import GmcError
from gmc.runtime.gallery import write_gallery

TEXT = """
model m {
  observed v : normal[2, 2]
  latent h : bernoulli[3]
  edge v -- h
}
data npz("d.npz") { v = x }
chain seen { clamp v }
chain filled { clamp v where observed }
chain dreaming { start persistent(5)  sweeps 1 }
chain near { start data  sweeps 2 }
objective nll = likelihood(positive = POSITIVE, negative = NEGATIVE)
train { minimize nll using sgd(lr = 0.01)  batch 6  epochs 1 }
"""


def trained(tmp_path: Path, x: np.ndarray, positive: str, negative: str) -> gmc.Run:
    """A run of one epoch, with its pictures."""
    np.savez(tmp_path / "d.npz", x=x)
    text = TEXT.replace("POSITIVE", positive).replace("NEGATIVE", negative)
    text = text if positive == "filled" else text.replace("chain filled { clamp v where observed }\n", "")
    (tmp_path / "m.gm").write_text(text)
    run = gmc.compile(tmp_path / "m.gm").train(tmp_path / "run", seed=0)
    write_gallery(run)
    return run


def test_a_chain_that_starts_from_few_rows_is_drawn_for_them(tmp_path: Path) -> None:
    trained(tmp_path, np.random.default_rng(0).standard_normal((12, 2, 2)), "seen", "near")
    assert (tmp_path / "run" / "samples-v.png").is_file()


def test_a_chain_that_starts_from_rows_with_gaps_is_not_drawn(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((120, 2, 2))
    x[:, 0, 0] = np.nan
    trained(tmp_path, x, "filled", "dreaming")  # `near`, which is longer, cannot run
    assert (tmp_path / "run" / "samples-v.png").is_file()


@pytest.mark.parametrize("given", [1e300, "1e300", torch.full((2, 2), 1e300, dtype=torch.float64)])
def test_values_beyond_32_bits_are_refused(tmp_path: Path, given: object) -> None:
    run = trained(tmp_path, np.zeros((12, 2, 2)) + np.arange(4).reshape(2, 2), "seen", "near")
    with pytest.raises(GmcError, match=r"finite number as float32"):
        run.sample("seen", clamp={"v": given})  # type: ignore[dict-item]
