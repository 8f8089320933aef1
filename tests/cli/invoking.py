"""How the tests run command lines, and the small model they run them on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from gmc.cli import main

TINY = '''\
"""A tiny machine on digits."""
param hidden = 3 in [1 .. 8]

model tiny {
  observed v : bernoulli[8, 8]
  latent h : bernoulli[hidden]
  edge v -- h
}

data digits(held_out = 100) {
  v = image | threshold(0.5)
  test v = test_image | threshold(0.5)
}

chain posterior { clamp v }
chain negative { start persistent(10)  sweeps 1 }
chain dreaming { sweeps 3 }
chain inpaint { clamp v[:, 4:]  sweeps 2 }

objective nll = likelihood(positive = posterior, negative = negative)

train {
  minimize nll using sgd(lr = 0.05)
  batch 600
  epochs 2
}
'''


def invoke(*words: str, **extra: Any) -> Result:
    """Runs a command line in this process."""
    return CliRunner().invoke(main, list(words), prog_name="gmc", **extra)


def json_lines(result: Result) -> list[dict[str, Any]]:
    """The diagnostics of `--format json`."""
    return [json.loads(line) for line in result.stderr.splitlines()]


def codes(result: Result) -> list[str]:
    """Their codes."""
    return [found["code"] for found in json_lines(result)]


def subprocess_of(*words: str, cwd: Path, **extra: Any) -> subprocess.Popen[bytes]:
    """Runs a command line in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "gmc", *words], cwd=cwd, env=environment(), **extra)


def environment() -> dict[str, str]:
    """That of a process which imports what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@dataclass(frozen=True, slots=True)
class Trained:
    """A run folder, and what the training printed."""

    folder: Path
    result: Result
