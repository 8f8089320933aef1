"""What keeps a law normalisable where values are unbounded, checked and kept while training.

Every family alone has a law at every field (a gamma at those below zero), so the sum or integral of exp(-E) can only diverge through terms that join unbounded values. Write
T for the statistics, and let all bounded variables stand at any of their values: there are finitely many, or a compact set of them, so it is enough that the integral over the
unbounded ones is finite, uniformly.

*Definite.* Terms between two quadratic ends (normal: E has `T^2 / (2 beta)`; relu: `x^2 / 2`), with at most a bounded third. Together with the base measures they are
`-1/2 T' J T` with `J = D - W`, D = 1 / beta or 1, and linear terms, whose integral is finite if J is positive definite. A third end c makes W depend on c;
with M >= |W(c)| entry by entry, `diag(M 1) - W(c)` is diagonally dominant, so not below zero (Gershgorin; Horn and Johnson, Matrix analysis, 6.1.10), and it
is enough that `D - diag(M 1) - W` is positive definite, W now being the couplings of the pairs. Between two relus only the part of W above zero counts: with x_i x_j >= 0, leaving a
coupling below zero out makes no density smaller. That J be positive definite is sufficient; for relus alone strict copositivity would be necessary.

*Sign.* Terms among two or three ends of which one is a poisson or a gamma, or among three relus: all are at least zero, and so is a bounded third end. With weights of at most zero
such a term is at most zero, so the density is at most that without it.

*Field.* Terms between a gamma and bounded ends: the field of each site, its bias and the greatest that these terms can send it, must be below zero. An absent neighbour, or a gain of 0, sends
nothing: a term whose greatest is below zero counts as zero.

A directed edge's target has a law at every field, and the values of its sources are given: nothing is asked of its weights.

A poisson with bounded neighbours has a bounded rate and needs nothing. A normal with a poisson or a gamma is refused (`gmc.dsl.coupling`): integrating x out of `x n` leaves exp(n^2 / 2)
against n!, and the gamma's field would have no upper bound.

While training the couplings of joined quadratic variables are scaled together until the least eigenvalue of `D^-1/2 J D^-1/2` is at least `MARGIN`; signs are cut off at zero; gamma biases are lowered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx
import torch
from torch import Tensor, fx

from gmc.compiler.emitter import Emitter, inputs
from gmc.compiler.family import GREATEST_FIELD
from gmc.compiler.graph import FactorGraph, Term, bias_shape, family
from gmc.compiler.region import Piece, Region
from gmc.dsl.coupling import Rule, rule
from gmc.dsl.model import Variable

MARGIN = 1e-2
"""The least eigenvalue of the scaled precision matrix that training leaves."""

Params = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Proper:
    """The rules of a graph that has any."""

    graph: FactorGraph
    ruled: Mapping[Rule, tuple[Term, ...]]
    islands: tuple[tuple[Variable, ...], ...]
    """The quadratic variables that definite terms join, directly or through others."""
    _modules: dict[str, fx.GraphModule] = field(default_factory=dict)

    @torch.no_grad()
    def check(self, params: Params) -> list[str]:
        """What leaves no law, in words; an empty list if nothing does."""
        found = [
            f"a coupling of {term.name} is above zero, which its unbounded values do not allow"
            for term in self.ruled["sign"]
            if self._above_zero(term, params)
        ]
        found += [
            f"the couplings of {_names(island)} leave a precision matrix that is not positive definite"
            for island in self.islands
            if not _definite(*self._scaled(island, params, ()), 0.0)
        ]
        for variable in self._gammas():
            greatest = (self._bias(variable, params) + self._supremum(variable, params)).max()
            if not bool(greatest < 0):
                found.append(
                    f"the field of {variable.name} reaches {float(greatest):.3g}, and that of a gamma must stay below zero"
                )
        return found

    @torch.no_grad()
    def project(self, params: Params) -> None:
        """Changes parameters in place, as little as these rules know how, so that there is a law.

        What has no parameters, such as a lattice of fixed coupling, stays as it is: `check` tells whether that was enough.
        """
        for term in self.ruled["sign"]:
            for name in _owned(term):
                params[name].clamp_(max=0.0)
        for island in self.islands:
            self._shrink(island, params)
        for variable in self._gammas():
            self._lower(variable, params)

    # ---- couplings

    def _couplings(self, term: Term, params: Params) -> Tensor:
        """All couplings of a term, an axis an end, float64; of a lateral one the symmetric matrix.

        They are the fields on the last end from unit vectors at the others.
        """
        theta = {suffix: params[term.parameter(suffix)] for suffix in term.factor.parameters(term.ends)}
        found = term.factor.couplings(term.ends, theta)
        if found is not None:
            return found.to(torch.float64)
        sizes = [end.size for end in term.ends]
        place = _device(params)
        rows = torch.cartesian_prod(*(torch.arange(n, device=place) for n in sizes[:-1])).reshape(-1, len(sizes) - 1)
        units = {
            f"end.{slot}": torch.nn.functional.one_hot(rows[:, slot], size).to(torch.float64)
            for slot, size in enumerate(sizes[:-1])
        }
        module = self._module(term).to(place)
        out: Tensor = module(*(units[n] if n in units else params[n].to(torch.float64) for n in inputs(module)))
        return out.reshape(sizes)

    def _module(self, term: Term) -> fx.GraphModule:
        if term.name not in self._modules:
            g = Emitter()
            theta = {s: g.input(term.parameter(s), fixed=True) for s in term.factor.parameters(term.ends)}
            pieces = {
                slot: Piece(g.input(f"end.{slot}", fixed=False), Region.whole_of(end))
                for slot, end in enumerate(term.ends[:-1])
            }
            last = len(term.ends) - 1
            out = term.factor.field(g, theta, term.ends, pieces, Region.whole_of(term.ends[last]), last)
            self._modules[term.name] = g.module(out, "Couplings")
        return self._modules[term.name]

    def _above_zero(self, term: Term, params: Params) -> bool:
        names = _owned(term)
        held = [params[name] for name in names] or [self._couplings(term, params)]
        return any(bool((w > 0).any()) for w in held)

    # ---- definite

    def _scaled(self, island: Sequence[Variable], params: Params, without: Collection[str]) -> tuple[Tensor, Tensor]:
        """D^-1/2 W D^-1/2 of an island, and the row sums that stand for its third-order terms, scaled alike.

        Terms of the owners `without` are left out.
        """
        places, at = dict[str, slice](), 0
        for variable in island:
            places[variable.name], at = slice(at, at + variable.sites), at + variable.sites
        pairs = torch.zeros(at, at, dtype=torch.float64, device=_device(params))
        rest = torch.zeros_like(pairs)
        for term in self.ruled["definite"]:
            slots = [n for n, end in enumerate(term.ends) if end.name in places]
            if not slots or term.owner in without:
                continue
            ends = [term.ends[n] for n in slots]
            couplings = self._couplings(term, params)
            total = pairs
            if len(term.ends) == 3:
                (third,) = set(range(3)) - set(slots)
                absolute = any(family(end).bounds[0] < 0 for end in ends)
                couplings = _greatest(torch.movedim(couplings, third, 0), term.ends[third : third + 1], absolute)
                total = rest
            into = places[ends[0].name], places[ends[1].name]
            total[into] += couplings
            if into[0] != into[1]:
                total[into[1], into[0]] += couplings.T
        positive = torch.cat([torch.full((v.sites,), family(v).bounds[0] >= 0) for v in island]).to(pairs.device)
        pairs = torch.where(positive & positive[:, None], pairs.clamp(min=0.0), pairs)
        scale = torch.cat([_scale(v, params) for v in island])
        return pairs * scale * scale[:, None], rest.sum(1) * scale * scale

    def _shrink(self, island: Sequence[Variable], params: Params) -> None:
        """Scales the couplings of an island until there is a margin.

        The greatest eigenvalue of what is to be below 1 is convex in a common factor of the couplings that are learned; those that are fixed
        give it at the factor 0.
        """
        pairs, rest = self._scaled(island, params, ())
        if _definite(pairs, rest, MARGIN):
            return
        names = {v.name for v in island}
        terms = [t for t in self.ruled["definite"] if names & {end.name for end in t.ends}]
        learned = {t.owner: t for t in terms if t.factor.parameters(t.ends)}
        if not learned or not bool(torch.isfinite(pairs).all() & torch.isfinite(rest).all()):
            return
        full = _top(pairs, rest)
        fixed = 0.0 if len(learned) == len(terms) else max(_top(*self._scaled(island, params, learned)), 0.0)
        factor = max(1.0 - MARGIN - fixed, 0.0) / (full - fixed) if full > fixed else 1.0
        for _ in range(64):
            for term in learned.values():
                _multiply(term, params, factor)
            # where a fixed coupling of relus is in part undone by one that is learned, the line is no bound
            if _definite(*self._scaled(island, params, ()), 0.5 * MARGIN):
                return
            factor = 0.5

    # ---- fields

    def _gammas(self) -> list[Variable]:
        return [v for v in self.graph.variables if family(v).tail == "exponential" and v.sites]

    def _into(self, variable: Variable) -> list[tuple[Term, int]]:
        return [
            (term, slot)
            for term in self.ruled["field"]
            for slot, end in enumerate(term.ends)
            if end.name == variable.name
        ]

    def _supremum(self, variable: Variable, params: Params) -> Tensor:
        """The greatest that bounded neighbours can send each site, `[sites]`, float64."""
        found = torch.zeros(variable.sites, dtype=torch.float64, device=_device(params))
        for term, slot in self._into(variable):
            others = [end for n, end in enumerate(term.ends) if n != slot]
            found = found + _greatest(torch.movedim(self._couplings(term, params), slot, -1), others, absolute=False)
        return found

    def _bias(self, variable: Variable, params: Params) -> Tensor:
        if bias_shape(variable) is None:
            assert not isinstance(variable.family.bias, str)
            fixed = variable.family.bias
            return torch.full((variable.sites,), fixed, dtype=torch.float64, device=_device(params))
        held = params[f"{variable.name}.bias"].to(torch.float64).reshape(-1, 1)
        return held.expand(-1, variable.sites // held.shape[0]).reshape(-1)

    def _lower(self, variable: Variable, params: Params) -> None:
        """Lowers learned biases; where the bias is fixed, scales down what the neighbours send."""
        supremum = self._supremum(variable, params)
        if bias_shape(variable) is not None:
            bias = params[f"{variable.name}.bias"]
            most = (GREATEST_FIELD - supremum).reshape(bias.numel(), -1).amin(1).reshape(bias.shape)
            bias.copy_(torch.minimum(bias.to(torch.float64), most))
            return
        bias = self._bias(variable, params)
        excess = float((supremum / (torch.clamp(bias * 0.5, min=GREATEST_FIELD) - bias)).max())
        for term in {term.owner: term for term, _ in self._into(variable)}.values() if excess > 1.0 else ():
            _multiply(term, params, 1.0 / excess)


def build_proper(graph: FactorGraph) -> Proper | None:
    """The rules of a graph; None where every law it can have is proper."""
    ruled: dict[Rule, list[Term]] = {"free": [], "definite": [], "sign": [], "field": []}
    for term in (t for t in graph.terms if not t.targets):
        found = rule(term.ends, term.factor)
        assert isinstance(found, str), found
        if all(end.sites for end in term.ends):
            ruled[found].append(term)
    joined: nx.Graph[str] = nx.Graph()
    for term in ruled["definite"]:
        names = [end.name for end in term.ends if family(end).tail == "quadratic"]
        nx.add_path(joined, names)
    islands = tuple(
        tuple(v for v in graph.variables if v.name in names)
        for names in sorted(nx.connected_components(joined), key=min)
    )
    gammas = any(family(v).tail == "exponential" for v in graph.variables)
    if not (ruled["definite"] or ruled["sign"] or gammas):
        return None
    return Proper(graph, {name: tuple(terms) for name, terms in ruled.items()}, islands)


def _owned(term: Term) -> list[str]:
    """The names of a term's parameters."""
    return [term.parameter(suffix) for suffix in term.factor.parameters(term.ends)]


def _multiply(term: Term, params: Params, factor: float) -> None:
    """Multiplies a term's couplings by a factor, at least 0, in its parameters."""
    for name in _owned(term):
        params[name].mul_(factor ** (1.0 / term.factor.degree(term.ends)))


def _device(params: Params) -> torch.device:
    return next((p.device for p in params.values()), torch.device("cpu"))


def _names(variables: Sequence[Variable]) -> str:
    return " and ".join(v.name for v in variables)


def _scale(variable: Variable, params: Params) -> Tensor:
    """D^-1/2 at each site, where the base measure is -D T^2 / 2: read off it at the state 1."""
    kind = family(variable)
    law = kind.at({s: params[f"{variable.name}.{s}"].reshape(-1).to(torch.float64) for s in kind.own(variable.shape)})
    one = torch.ones(1, variable.sites, dtype=torch.float64, device=_device(params))
    base = law.base_measure(one)
    assert base is not None
    return (law.sent(one) / (-2.0 * base).sqrt())[0]


def _greatest(couplings: Tensor, bounded: Sequence[Variable], absolute: bool) -> Tensor:
    """The greatest that the first axes of `couplings`, those of bounded variables, can add up to, or a bound of it: `couplings`' other axes.

    Each site takes the value that is best for each entry; one that sends nothing counts as zero. `absolute`: of either sign.
    """
    for n, end in enumerate(bounded):
        kind = family(end)
        low, high = kind.bounds
        corners = kind.values() if kind.states is not None else torch.tensor([[low], [high]], dtype=torch.float64)
        couplings = couplings.unflatten(2 * n, (end.sites, kind.width)).movedim(2 * n + 1, -1)
        couplings = torch.matmul(couplings, corners.T.to(couplings.device)).movedim(-1, 2 * n + 1)
    found = couplings.abs() if absolute else couplings.clamp(min=0.0)
    found = found.amax([2 * n + 1 for n in range(len(bounded))])
    return found.sum(list(range(len(bounded))))


def _definite(pairs: Tensor, rest: Tensor, margin: float) -> bool:
    """Whether all eigenvalues of I - diag(rest) - pairs are above the margin: by row sums if these tell, else by Cholesky's method."""
    room = 1.0 - margin - rest
    if bool((pairs.abs().sum(1) < room).all()):
        return True
    return int(torch.linalg.cholesky_ex(torch.diag(room) - pairs).info) == 0


def _top(pairs: Tensor, rest: Tensor) -> float:
    """The greatest eigenvalue of pairs + diag(rest)."""
    return float(torch.linalg.eigvalsh(pairs + torch.diag(rest))[-1])
