"""Steps in centred coordinates: the offsets of each objective, and what is done to gradients and biases around a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, fx

from gmc.compiler.centring import Centring, build_centring
from gmc.compiler.emitter import inputs
from gmc.compiler.graph import FactorGraph
from gmc.runtime.examples import Examples


class CentredSteps:
    """The offsets of the objectives that ask for centred steps, `[1, size]` by variable, and steps that are centred on them.

    `params` are stepped in place by whoever steps, and keep their meaning: a bias moves by what the centred bias does, and by what the weights' change takes from it.
    """

    def __init__(self, graph: FactorGraph, train: Examples, params: Mapping[str, Tensor]) -> None:
        self.graph, self.train, self.params = graph, train, params
        self.offsets: dict[str, dict[str, Tensor]] = {}
        self._centring: Centring | None = None

    def follow(self, objective: str, rate: float, means: Mapping[str, Tensor]) -> None:
        """Moves an objective's offsets to the mean statistics of its positive phase, `[size]` by variable, at a rate.

        They begin at the mean of the data, and where there are none at the first of the means.
        """
        if objective not in self.offsets:
            self.offsets[objective] = self._first()
        offsets = self.offsets[objective]
        for name, mean in means.items():
            offsets[name] = torch.lerp(offsets[name], mean[None], rate) if name in offsets else mean[None].clone()

    @contextmanager
    def around(self, objective: str, gradient: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
        """Gives the gradient in centred coordinates, and has the biases stand for the centred ones until the step is done.

        Biases without a gradient stay as they are, and take nothing. Without offsets the step is plain.
        """
        if objective not in self.offsets:
            yield gradient
            return
        graphs = self._graphs()
        own = {name: self.offsets[objective].get(name) for name in (v.name for v in self.graph.variables)}
        given = {f"offset.{v.name}": self._or_zero(own[v.name], v.size) for v in self.graph.variables}
        moved = [f"{v.name}.bias" for v in graphs.biased if f"{v.name}.bias" in gradient]
        slopes = {
            f"slope.{v.name}": gradient.get(f"{v.name}.bias", torch.zeros_like(self.params[f"{v.name}.bias"]))
            for v in graphs.biased
        }
        lost = self._run(graphs.correction, given | slopes)
        shift = self._run(graphs.shift, given)
        for name in moved:
            self.params[name].add_(shift[name])
        yield {name: value - lost[name] if name in lost else value for name, value in gradient.items()}
        shift = self._run(graphs.shift, given)
        for name in moved:
            self.params[name].sub_(shift[name])

    def _first(self) -> dict[str, Tensor]:
        """The mean statistics of the data, as far as there are any."""
        module = self._graphs().statistics
        means = {v.name: self._or_zero(None, v.size) for v in self.graph.variables}
        known = {n: self.train.mean(n) for n in self.train.variables if n in means}
        known = {n: mean for n, mean in known.items() if not bool(mean.isnan().any())}
        given = means | {n: mean.to(means[n].device, means[n].dtype)[None] for n, mean in known.items()}
        found = self._run(module, {f"state.{n}": mean for n, mean in given.items()})
        return {n: found[n].clone() for n in known}

    def _graphs(self) -> Centring:
        if self._centring is None:
            self._centring = build_centring(self.graph)
            self._centring.to(self._like().device)
        return self._centring

    def _run(self, module: fx.GraphModule, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = module(*(given[n] if n in given else self.params[n] for n in inputs(module)))
        return found

    def _or_zero(self, offset: Tensor | None, size: int) -> Tensor:
        return self._like().new_zeros(1, size) if offset is None else offset

    def _like(self) -> Tensor:
        return next(iter(self.params.values()))
