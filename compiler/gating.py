"""How strong messages are in a sweep, in a chain's graphs: constants, gains that run over the sweeps, and gates."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from gmc.compiler.condition import Condition
from gmc.compiler.emitter import Emitter
from gmc.compiler.gains import Potency, Scale
from gmc.compiler.graph import FactorGraph, Term
from gmc.compiler.holding import Holding, Pieces
from gmc.dsl.model import Gate

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def emit_gate(g: Emitter, graph: FactorGraph, holding: Holding, gate: Gate, known: Pieces) -> tuple[Any, Any, Any]:
    """The number that a gate compares, `[chains]`, whether it is open, bool `[chains]`, and that as zero or one, `[chains, 1]`."""
    assert isinstance(gate.condition, Condition)
    with g.at(gate.span):
        held, observed = holding.of(g, gate.condition.of)
        number = gate.condition.emit(g, graph, held, known, observed)
        opened = COMPARE[gate.operator](number, gate.threshold)
        return number, opened, opened.to(held.value.dtype).unsqueeze(1)


def emit_scale(g: Emitter, potency: Potency, open_gates: Mapping[Gate, Any]) -> Scale:
    """What scales messages in a sweep; gates that are open are ones `[chains, 1]`, others zeros."""

    def scale(term: Term, slot: int) -> Any:
        if potency.silent(term, slot):
            return None
        found: Any = 1.0
        for n in potency.on(term, slot):
            gain = potency.gains[n]
            with g.at(gain.span):
                value: Any = gain.value.start if gain.value.constant else g.input(f"gain.{n}", fixed=False)
                if gain.unless is not None:
                    opened = open_gates[gain.unless]
                    closed = isinstance(value, float) and value == 0.0
                    value = opened if closed else opened + (1.0 - opened) * value
                found = value if isinstance(found, float) and found == 1.0 else found * value
        return found

    return scale
