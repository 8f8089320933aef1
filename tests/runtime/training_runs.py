"""A small training with everything in it that a resume must bring back, and what its runs leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gmc.runtime.model import Model, compile_file

RICH = """\
model rich {
  observed v : bernoulli[2, 3]
  observed y : categorical(3)
  observed x : normal[2]
  latent   h : bernoulli[3]
  latent   s : spin[2]
  edge v -- h
  edge y -- h
  edge x -- h
  edge h -- s
}

data npz("data.npz") {
  v = grey | binarize
  y = label
  x = real | standardize
}

chain each_row { clamp v, y, x  start persistent(2)  sweeps 1 }
chain mean_field { clamp v, y, x  update mean  sweeps 2 }
chain negative { start persistent(5, restart = 0.2)  sweeps 1 }

objective nll = likelihood(positive = each_row, negative = negative, centring = 0.05)
objective bound = likelihood(positive = mean_field, negative = negative)

train first {
  minimize nll of v_h, v, s using sgd(lr = 0.05 -> 0.01, momentum = 0.5 -> 0.9, max_norm = 0.5)
  minimize bound using adam(lr = 1e-2, average = 0.9) times 2
  batch 20
  epochs 2
}

train second {
  minimize bound using adam(lr = 1e-2 -> 0.0, weight_decay = 1e-3)
  batch 25
  epochs 2
}
"""
"""Two stages, both optimisers in one step, momentum, ramps, centred steps, averages, norms, data drawn afresh, fitted constants, and persistent chains of both kinds."""

FILES = ("weights.safetensors", "state.safetensors", "metrics.jsonl")
"""What must be the same bytes."""


def write_files(folder: Path) -> Path:
    """The program and its data; gives the path of the program."""
    generator = np.random.default_rng(0)
    np.savez(
        folder / "data.npz",
        grey=generator.random((50, 2, 3)),
        label=generator.integers(0, 3, 50),
        real=generator.normal(3.0, 2.0, (50, 2)),
    )
    file = folder / "rich.gm"
    file.write_text(RICH, encoding="utf-8")
    return file


def model_of(folder: Path) -> Model:
    """The compiled program."""
    return compile_file(write_files(folder))


def contents(run: Path) -> dict[str, bytes]:
    """What a run leaves, by name."""
    return {name: (run / name).read_bytes() for name in FILES}


def begun(run: Path) -> bool:
    """Whether a killed training got as far as to be resumed."""
    return (run / "config.json").exists()
