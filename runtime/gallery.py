"""The pictures of a run: samples, filters, metrics and schedules."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from gmc.compiler.pictures.render import render
from gmc.compiler.pictures.schedule import schedule_dot
from gmc.dsl.diagnostic import Diagnostic
from gmc.dsl.model import Chain
from gmc.runtime.folder import METRICS
from gmc.runtime.images import curves, filters, save, save_grid
from gmc.runtime.missing import may_lack
from gmc.runtime.request import needed
from gmc.runtime.run import Run
from gmc.runtime.sampling import collect

TILES = 100


def write_gallery(run: Run, seed: int = 0) -> list[Diagnostic]:
    """Writes the pictures into the run's folder and says what could not be drawn.

    `samples-VAR.png`: the observed variables of the chain that `dreams` chooses, their probabilities where the block that was drawn last holds them; `filters-EDGE.png`;
    `metrics.png`; `schedule-CHAIN.svg`, one a chain.

    Raises:
        GmcError: the folder may not be written to.
    """
    assert run.folder is not None
    found: list[Diagnostic] = []
    dream = dreams(run)
    if dream is not None:
        stream = run.stream(dream.name, seed=seed, fallback=TILES)
        samples = collect(stream, stream)
        for variable in run.compiled.checked.model.observed:
            if variable.sites > 1:
                save_grid(run.folder / f"samples-{variable.name}.png", samples.values[variable.name], variable)
    for name, image in filters(run.compiled.graph, run.params).items():
        save(run.folder / f"filters-{name}.png", image)
    log = run.folder / METRICS
    if log.is_file():
        curves(run.folder / "metrics.png", _records(log))
    found += _schedules(run, run.folder)
    return found


def _records(log: Path) -> list[dict[str, Any]]:
    """The lines of the metrics; one that somebody cut is left out."""
    records = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            records.append(json.loads(line))
    return records


def _schedules(run: Run, folder: Path) -> list[Diagnostic]:
    """One picture a chain; a missing graphviz is told once."""
    found: dict[str, Diagnostic] = {}
    for name, schedule in run.compiled.schedules.items():
        drawn = render(schedule_dot(run.compiled.graph, schedule), folder / f"schedule-{name}.svg")
        found |= {d.code: d for d in drawn.diagnostics if d.code not in found}
    return list(found.values())


def dreams(run: Run) -> Chain | None:
    """The chain whose samples show what the model has learned: the longest that clamps nothing, nor starts from one that does, nor from data with gaps."""
    free = [c for c in run.compiled.checked.chains if not _clamps(run, c) and not _may_lack(run, c)]
    return max(free, key=lambda c: c.sweeps.end, default=None)


def _may_lack(run: Run, chain: Chain) -> bool:
    """Whether a chain starts from data in which the file allows for gaps."""
    checked = run.compiled.checked
    return any(may_lack(name, checked.chains) for name in needed(checked.with_needs([chain.name])))


def _clamps(run: Run, chain: Chain) -> bool:
    return bool(chain.clamps) or any(_clamps(run, run.compiled.checked.chain(name)) for name in chain.needs)
