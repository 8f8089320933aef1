"""Makes the pictures and the numbers of tutorials/four_modes.md: `python docs/make_four_modes.py`. Takes about four minutes on a core.

Everything follows from seeds. The pictures show the machine of seed 0; the numbers are printed for each seed, as the rows of tables.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import gmc
from gmc.runtime.images import grid, save
from gmc.runtime.run import Run

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
FILE = ROOT / "examples" / "four_modes.gm"
SEEDS = (0, 1, 2)
NEIGHBOURS = 3
LOOKS = (1, 2, 5, 10, 20, 100, 1000)
"""Sweeps after which the modes are looked at."""
SHOWN = (1, 2, 3, 5, 7, 10, 13, 16, 20)
"""Sweeps that the strips show."""
WANDERING = tuple(range(8, 97, 8))
"""Those of dreams, counted from the thousandth."""
LENGTH = 20
"""Sweeps of a chain of which each is looked at."""


@dataclass(frozen=True, slots=True)
class Digits:
    """The known digits and the held-out ones, `[rows, 8, 8]`, with their labels `[rows]`."""

    known: Tensor
    known_labels: Tensor
    held: Tensor
    labels: Tensor

    def kinds(self, images: Tensor) -> Tensor:
        """Which digit each image `[n, 8, 8]` is nearest to: the most frequent label of its three nearest known digits, pixel by pixel."""
        distance = torch.cdist(images.double().flatten(1), self.known.double().flatten(1), p=1)
        return self.known_labels[distance.topk(NEIGHBOURS, largest=False).indices].mode(1).values

    def agreement(self, images: Tensor, labels: Tensor) -> float:
        """Percent of images that are of the kind of their label."""
        return 100 * float((self.kinds(images) == labels).double().mean())


def read() -> Digits:
    """The digits in black and white, split as in the example; labels come from an example that has them."""
    with tempfile.TemporaryDirectory() as folder:
        run = gmc.compile(ROOT / "examples" / "label_rbm.gm").save(folder)
        found = []
        for rows in (run.rows("train"), run.rows("test")):
            assert rows is not None
            found += [rows.external(name, torch.arange(rows.rows), epoch=0) for name in ("v", "y")]
    return Digits(*found)


def imagined(run: Run, h1: Tensor, h2: Tensor) -> Tensor:
    """E[v | h1] of states of mind `[.., units]`: `[.., 8, 8]`."""
    given = {"h1": h1.flatten(0, -2), "h2": h2.flatten(0, -2)}
    return run.sample("mind", clamp=given).means["v"].unflatten(0, h1.shape[:-1])


def last(run: Run, chain: str, v: Tensor, sweeps: int, start: str | None = None) -> Tensor:
    """What a chain imagines after so many sweeps, `[rows, 8, 8]`."""
    given = None if chain == "dreaming" and start is None else {"v": v}
    drawn = run.sample(chain, clamp=given, sweeps=sweeps, start=start).values
    return imagined(run, drawn["h1"], drawn["h2"])


def course(run: Run, chain: str, v: Tensor) -> Tensor:
    """What a chain imagines after each of its first sweeps, `[rows, sweeps, 8, 8]`."""
    drawn = run.sample(chain, clamp={"v": v}, sweeps=LENGTH, every=1).values
    return imagined(run, drawn["h1"], drawn["h2"])


def wrong(images: Tensor, truth: Tensor) -> float:
    """Percent of pixels that are on the wrong side of a half."""
    return 100 * float(((images > 0.5) != truth.bool()).double().mean())


def trained(seed: int, omit: Sequence[str] = (), rounds: int | None = None) -> Run:
    """The example's machine, without some of its stages."""
    text = FILE.read_text(encoding="utf-8")
    for stage in omit:
        text = re.sub(rf"^train {stage} {{.*?^}}\n", "", text, flags=re.MULTILINE | re.DOTALL)
    return gmc.compile(text, set={} if rounds is None else {"rounds": rounds}).train(seed=seed)


def reset(run: Run, **params: float) -> Run:
    """The same machine with other params of its chains."""
    return gmc.compile(FILE, set=params).run(run.params)


def modes(run: Run, digits: Digits) -> Iterable[Sequence[object]]:
    """For each mode the agreement with the digit that was seen, in percent, after some sweeps."""
    ways = (
        ("predict", None),
        ("present_at_hand", None),
        ("ready_to_hand", None),
        ("dreaming", "predict"),
        ("daydreaming", None),
        ("zoned_out", None),
    )
    for chain, start in ways:
        images = [last(run, chain, digits.held, sweeps, start) for sweeps in LOOKS]
        name = chain if start is None else f"{chain}, from {start}"
        yield name, *(digits.agreement(image, digits.labels) for image in images), wrong(images[4], digits.held)


def training(run: Run, digits: Digits) -> Sequence[object]:
    """What a machine makes of its levels: agreement with h1 held, with h2 held, how far dreams are from digits, and how many are of each kind."""
    seen = last(run, "predict", digits.held, 50)
    ready = [last(run, "ready_to_hand", digits.held, sweeps) for sweeps in (20, 1000)]
    dreams = run.sample("dreaming", chains=300).values["v"].double().flatten(1)
    far = torch.cdist(dreams, digits.known.double().flatten(1), p=1).min(1).values.mean()
    kinds = torch.bincount(digits.kinds(dreams), minlength=10).tolist()
    agree = [digits.agreement(images, digits.labels) for images in (seen, *ready)]
    return *agree, float(far), " ".join(map(str, kinds))


def influence(run: Run, digits: Digits) -> Iterable[Sequence[object]]:
    """How far the high level moves the middle one from what the image says, in probability a unit, by how much of it is heard."""
    alone = reset(run, heed=0).average("present_at_hand", clamp={"v": digits.held}, sweeps=120, burn=20)["h1"]
    for heed in (0.0, 0.25, 1.0):
        found = reset(run, heed=heed).average("present_at_hand", clamp={"v": digits.held}, sweeps=120, burn=20)["h1"]
        yield str(heed), f"{float((found - alone).abs().mean()):.3f}"


def inputs(digits: Digits) -> dict[str, Tensor]:
    """What takes the place of each digit: itself, another one of another kind, and ever more of its pixels flipped."""
    draws = torch.Generator().manual_seed(0)
    chance = torch.rand(digits.held.shape, generator=draws)
    flipped = torch.where(chance < 0.2, 1 - digits.held, digits.held)
    noise = (torch.rand(digits.held.shape, generator=draws) < 0.5).to(digits.held.dtype)
    return {
        "the same": digits.held,
        "another": digits.held[others(digits.labels)],
        "20 % flipped": flipped,
        "noise": noise,
    }


def others(labels: Tensor) -> Tensor:
    """For each row the number of one of another kind, each the next that is."""
    count = labels.shape[0]
    return torch.tensor(
        [next(j % count for j in range(i + 1, i + count) if labels[j % count] != labels[i]) for i in range(count)]
    )


def startled(run: Run, digits: Digits) -> Iterable[Sequence[object]]:
    """For each input that appears after zoning out for a while: surprise, how many gates are open, and agreement with the old and the new digit."""
    before = run.sample("zoned_out", clamp={"v": digits.held}, sweeps=LENGTH).values
    new = digits.labels[others(digits.labels)]
    for name, v in inputs(digits).items():
        after = run.sample("startled", clamp={"v": v, "h1": before["h1"], "h2": before["h2"]}, every=1)
        (surprise,), (gate,) = after.measured.values(), after.open.values()
        images = imagined(run, after.values["h1"], after.values["h2"])
        shown = [n - 1 for n in (1, 2, 5, 20)]
        opened = [f"{100 * float(gate[:, n].double().mean()):.0f}" for n in shown]
        surprised = [f"{float(surprise[:, n].mean()):.2f}" for n in shown]
        agree = [digits.agreement(images[:, -1], labels) for labels in (digits.labels, new)]
        yield name, " ".join(surprised), " ".join(opened), *agree


def quantiles(run: Run, digits: Digits) -> Sequence[object]:
    """Surprise of digits that were looked at, nats a pixel: median, 95 % and 99 % of known ones, and of held-out ones."""
    found = []
    for v in (digits.known, digits.held):
        seen = last(run, "predict", v, 50).double()
        surprise = -torch.where(v.bool(), seen, 1 - seen).log().flatten(1).mean(1)
        found += [f"{float(surprise.quantile(q)):.3f}" for q in (0.5, 0.95, 0.99)]
    return found


def pictures(run: Run, digits: Digits) -> None:
    """A strip for each of ten digits and each mode, and the curves."""
    rows = torch.tensor([int((digits.labels == digit).nonzero()[0]) for digit in range(10)])
    v = digits.held[rows]
    at = [sweep - 1 for sweep in SHOWN]
    for chain in ("present_at_hand", "ready_to_hand", "daydreaming"):
        strips(chain, v, course(run, chain, v)[:, at])
    dreams = run.sample("dreaming", chains=10, sweeps=1000 + max(WANDERING), every=WANDERING[0], burn=1000).values
    strips("dreaming", None, imagined(run, dreams["h1"], dreams["h2"]))
    new = digits.held[others(digits.labels)][rows]
    zoned = run.sample("zoned_out", clamp={"v": v}, sweeps=LENGTH, every=1).values
    h1, h2 = zoned["h1"], zoned["h2"]
    woken = run.sample("startled", clamp={"v": new, "h1": h1[:, -1], "h2": h2[:, -1]}, every=1).values
    before, after = imagined(run, h1, h2), imagined(run, woken["h1"], woken["h2"])
    some = [0, 1, 4, 9, 14, 19]
    tiles = [v[:, None].float(), before[:, some], new[:, None].float(), after[:, [0, 1, 2, 4, 9, 14, 19]]]
    strips("zoned_out", None, torch.cat(tiles, 1))
    curves(run, digits)


def strips(name: str, v: Tensor | None, images: Tensor) -> None:
    """A row a digit, a column a sweep; the image that is clamped comes first."""
    tiles = images if v is None else torch.cat((v[:, None].to(images.dtype), images), 1)
    save(PICTURES / f"four_modes-{name}.png", grid(tiles.flatten(0, 1), columns=tiles.shape[1], scale=5))


def curves(run: Run, digits: Digits) -> None:
    """Agreement over the sweeps of each mode, and what happens when the image changes under a chain that is zoned out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.0), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    sweeps = range(1, LENGTH + 1)

    def agree(images: Tensor, labels: Tensor) -> list[float]:
        return [digits.agreement(images[:, n], labels) for n in range(images.shape[1])]

    for chain in ("present_at_hand", "ready_to_hand", "zoned_out", "daydreaming"):
        left.plot(sweeps, agree(course(run, chain, digits.held), digits.labels), linewidth=1.4, label=chain)
    number = others(digits.labels)
    before = run.sample("zoned_out", clamp={"v": digits.held}, sweeps=LENGTH, every=1)
    mind = {name: before.values[name][:, -1] for name in ("h1", "h2")}
    after = run.sample("startled", clamp={"v": digits.held[number], **mind}, every=1)
    values = {name: torch.cat((before.values[name], after.values[name]), 1) for name in mind}
    images = imagined(run, values["h1"], values["h2"])
    both = range(1, 2 * LENGTH + 1)
    gates = torch.cat([next(iter(part.open.values())) for part in (before, after)], 1)
    right.plot(both, agree(images, digits.labels), linewidth=1.4, label="of the first digit's kind")
    right.plot(both, agree(images, digits.labels[number]), linewidth=1.4, label="of the second's")
    right.plot(both, 100 * gates.double().mean(0), linewidth=1.4, color="grey", label="gates open")
    right.axvline(LENGTH + 0.5, color="black", linewidth=0.8, linestyle=":")
    for panel, title in ((left, "imagined v of the kind that was seen, %"), (right, "another digit after sweep 20, %")):
        panel.set_title(title, fontsize=10, loc="left")
        panel.set_xticks(range(0, 2 * LENGTH + 1 if panel is right else LENGTH + 1, 5))
        panel.set_xlabel("sweep", fontsize=9)
        panel.set_ylim(0, 100)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(fontsize=8, frameon=False)
    figure.savefig(PICTURES / "four_modes-curves.png", metadata={"Software": None})


def put(*cells: object) -> None:
    """A row of a table."""
    shown = [f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells]
    sys.stdout.write(f"| {' | '.join(shown)} |\n")
    sys.stdout.flush()


def main() -> None:
    """Trains a machine a seed, and two others for comparison; draws, and prints."""
    digits = read()
    put("held-out digits by the three nearest", digits.agreement(digits.held, digits.labels))
    for seed in SEEDS:
        run = trained(seed)
        if seed == SEEDS[0]:
            pictures(run, digits)
        for name, table in (("modes", modes), ("influence", influence), ("startled", startled)):
            for row in table(run, digits):
                put(seed, name, *row)
        put(seed, "surprise", *quantiles(run, digits))
        put(seed, "three stages", *training(run, digits))
        put(seed, "without joint", *training(trained(seed, omit=("joint",)), digits))
        put(seed, "joint alone", *training(trained(seed, omit=("lower", "upper"), rounds=180), digits))


if __name__ == "__main__":
    main()
