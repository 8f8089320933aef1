"""`gmc new`: a small model to start from."""

from __future__ import annotations

from pathlib import Path

import click

from gmc.commands import files
from gmc.commands.frame import command
from gmc.commands.report import Reporter

TEMPLATE = '''\
"""A restricted Boltzmann machine on handwritten digits."""

# another value for one run: gmc compile {file} --set hidden=64
param hidden = 16 in [1 .. 4096]

# A graph: variables, and the edges between them. A cell of h sees every pixel of v.
model {name} {{
  observed v : bernoulli[8, 8]
  latent h : bernoulli[hidden]
  edge v -- h
}}

# The 1,797 digits that come with gmc, black or white; 360 of them are held out for `gmc eval`.
data digits(held_out = 360) {{
  v = image | threshold(0.5)
  test v = test_image | threshold(0.5)
}}

# Chains: what is clamped, where the rest starts, and how long it runs.
chain posterior {{ clamp v }}
chain negative {{ start persistent(100)  sweeps 1 }}
chain dreaming {{ sweeps 200 }}
chain inpaint {{ clamp v[:, 4:]  sweeps 50 }}  # the right half is given, the left half is drawn

# What is learned: the energy of the data goes down, that of the model's own dreams up.
objective nll = likelihood(positive = posterior, negative = negative)

train {{
  minimize nll using sgd(lr = 0.05 -> 0.0)
  batch 100
  epochs 10
}}
'''


@command(
    "new",
    "Write a small model to start from.",
    examples=["gmc new rbm", "gmc compile rbm.gm --train", "gmc sample runs/rbm --chain dreaming --out dreams.png"],
)
@click.argument("name")
@click.pass_obj
def main(reporter: Reporter, name: str) -> None:
    """Write NAME.gm, a small model with comments that is ready to be trained; an existing file is never touched."""
    path = Path(name if name.endswith(".gm") else f"{name}.gm")
    files.create(path, template(path).encode("utf-8"))
    reporter.say(f"wrote {path}\n\nnext:  gmc compile {path} --train")


def template(path: Path) -> str:
    """The text for a file of that name; the model is called by it where that makes a name."""
    return TEMPLATE.format(name=model_name(path.stem), file=path.name)


def model_name(stem: str) -> str:
    """A name for the model that nothing else in the template, and no word of the language, has."""
    import gmc.runtime.words  # noqa: F401
    from gmc.dsl.lexer import reserved_words
    from gmc.dsl.vocabulary import VOCABULARY

    taken = {"v", "h", "hidden", "posterior", "negative", "dreaming", "inpaint", "nll"}
    usable = (
        stem.isascii()
        and stem.isidentifier()
        and stem not in taken | set(reserved_words())
        and not VOCABULARY.kinds(stem)
    )
    return stem if usable else "rbm"
