"""What a chain holds, in its graphs: clamped regions, and what rows have of free ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gmc.compiler.emitter import Emitter
from gmc.compiler.region import Piece, Region
from gmc.compiler.schedule import Schedule

Pieces = dict[str, list[Piece]]
"""Pieces of each variable that do not overlap."""


@dataclass(frozen=True, slots=True)
class Holding:
    """The inputs of a chain's graphs that say what it holds."""

    schedule: Schedule

    def clamped(self, g: Emitter) -> Pieces:
        """The clamped pieces."""
        return {
            name: [Piece(g.input(f"clamped.{name}", fixed=True), region)]
            for name, region in self.schedule.clamped.items()
        }

    def known(self, g: Emitter, *parts: Mapping[str, Piece]) -> Pieces:
        """The clamped pieces, and others that do not overlap them."""
        known = self.clamped(g)
        for part in parts:
            for name, piece in part.items():
                known.setdefault(name, []).append(piece)
        return known

    def observed(self, g: Emitter, region: Region) -> Any:
        """Which of a region's statistics a row has; None where none of its sites are held by rows."""
        masked = self.schedule.masked.get(region.name)
        if masked is None or masked.without(region).sites.size == masked.sites.size:
            return None
        return self._of_free(g, f"observed.{region.name}", region)

    def given(self, g: Emitter, region: Region) -> Any:
        """What rows have of a region, zero where they have nothing."""
        return self._of_free(g, f"given.{region.name}", region)

    def _of_free(self, g: Emitter, name: str, region: Region) -> Any:
        """A region's part of an input over its variable's free sites."""
        free = self.schedule.free[region.name]
        return g.assemble([Piece(g.input(name, fixed=True), free)], region)

    def kept(self, g: Emitter, region: Region, value: Any) -> Any:
        """A value, with what rows have in its place."""
        observed = self.observed(g, region)
        return value if observed is None else torch.where(observed, self.given(g, region), value)

    def of(self, g: Emitter, name: str) -> tuple[Piece, Any]:
        """All sites of a variable that the chain may clamp, and which of them each row holds (None: all)."""
        region = self.schedule.clamped.get(name)
        fixed = [] if region is None else [Piece(g.input(f"clamped.{name}", fixed=True), region)]
        masked = self.schedule.masked.get(name)
        if masked is None:
            return fixed[0], None
        pieces = [*fixed, Piece(self.given(g, masked), masked)]
        target = Region(masked.variable, np.sort(np.concatenate([p.region.sites for p in pieces])))
        observed = Piece(self._of_free(g, f"observed.{name}", masked), masked)
        flags = [Piece(torch.ones_like(p.value, dtype=torch.bool), p.region) for p in fixed]
        return Piece(g.assemble(pieces, target), target), g.assemble([*flags, observed], target)
