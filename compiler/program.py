"""A chain as torch.fx graphs: pass 0, one sweep, the last sweep, and pass 0 alone.

Inputs: the parameters by name; `clamped.VAR`, the states of the clamped region; `given.VAR` and `observed.VAR`, what rows have of the free region (zero where they have
nothing) and where (bool), for variables clamped where observed; `start.VAR`, the states of the free region; `state.VAR`, those of the part of it that sweeps
draw; `beta`, the inverse temperatures of rows `[chains, 1]`, or of a sweep, where a start tempers the chain; `gain.N`, the number of a gain that runs over the sweeps; `live`, which chains have not stopped (bool `[chains, 1]`), where the update has a tolerance; `blank`, zeros
`[chains, 1]` in the chain's dtype; `key` and `sweep` for the draws. Pass 0 and a sweep give a dictionary of states, and a sweep with a tolerance `state` and `change`. The last sweep gives what is wanted of

- `state`: the free region of each variable, to start from again;
- `value`: whole variables, clamped sites included, as drawn (or as mean-field means);
- `mean`: the same with the mean of what was drawn last, given the rest: what enters statistics;
- `spread`: where a mean-field chain has the mean of a law (one) and where it holds a value (zero), for families with parameters of their own;
- `smooth`: the same with the mean of every draw of the sweep, given what it was drawn from: what is averaged over sweeps;
- `field`: the natural parameters from which each site was last updated, zeros where none was, as at clamped sites;
- `settled`: whole variables after one mean-field pass over the free latent ones, block by block, from the states as drawn;

`change`, the largest change of a number in the sweep `[chains]`, where the update has a tolerance; `accepted`, which rows exchanged their states with the next, where they have temperatures; and, of chains with gates, the numbers that these were tested by (`measured`) and how that came out (`open`), by the texts of conditions and gates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import fx

from gmc.compiler.emission import Emission, Want
from gmc.compiler.graph import FactorGraph
from gmc.compiler.passes import DEFAULT, Pass, run_passes
from gmc.compiler.region import Region
from gmc.compiler.schedule import Schedule, build_opening
from gmc.compiler.split import Split, split
from gmc.dsl.model import Chain
from gmc.dsl.vocabulary import StartWord

ALL: tuple[Want, ...] = ("state", "value", "mean", "smooth")


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A chain's graphs, each as emitted and as the passes leave it.

    `opening` is pass 0; `fresh` is pass 0 as if nothing were persistent, for states that start anew; `sweep` one sweep but the last;
    `last` the last one, with what is deferred; `alone` pass 0 where no sweep follows. `drawn` names the region of each numbered draw of a sweep and of what is deferred.
    `stops` is the change in a sweep below which a chain stops by itself, 0 where none does. `climb` and `descend` are a sweep and its reverse at an inverse temperature, for tempered transitions.
    """

    chain: Chain
    schedule: Schedule
    opening: Split
    fresh: Split
    sweep: Split
    last: Split
    alone: Split
    persistent: tuple[str, ...]
    drawn: Mapping[int, Region]
    stops: float = 0.0
    climb: Split | None = None
    descend: Split | None = None

    def graphs(self) -> dict[str, Split]:
        """All graphs by name."""
        found = {
            name: getattr(self, name) for name in ("opening", "fresh", "sweep", "last", "alone", "climb", "descend")
        }
        return {name: graph for name, graph in found.items() if graph is not None}


def build_program(
    graph: FactorGraph, schedule: Schedule, want: Sequence[Want] = ALL, passes: Sequence[Pass] = DEFAULT
) -> Program:
    """The graphs of a scheduled chain."""
    emit = Emission(graph, schedule, tuple(want))
    persistent = tuple(name for name in schedule.supplied if kept(schedule.chain, name))
    again = build_opening(
        graph,
        {**schedule.masked, **schedule.clamped},
        schedule.active,
        tuple(n for n in schedule.supplied if n not in persistent),
        schedule.potency,
    )

    def finish(module: fx.GraphModule) -> Split:
        return split(module, run_passes(module, passes))

    led = emit.tempered is not None and not emit.tempered.exchanges
    return Program(
        chain=schedule.chain,
        schedule=schedule,
        opening=finish(emit.opening()),
        fresh=finish(emit.fresh(again, persistent)),
        sweep=finish(emit.sweep()),
        last=finish(emit.last()),
        alone=finish(emit.alone()),
        persistent=persistent,
        drawn=emit.drawn,
        stops=emit.drawing.rule.stops,
        climb=finish(emit.climb()) if led else None,
        descend=finish(emit.descend()) if led else None,
    )


def kept(chain: Chain, variable: str) -> bool:
    """Whether a chain keeps the variable's states from one run to the next."""
    start = chain.start(variable)
    return start is not None and isinstance(start.source, StartWord) and start.source.keeps
