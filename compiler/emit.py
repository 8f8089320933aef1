"""What each stage makes of a file, as text: `gmc compile --emit=ast|model|graph|schedule|fx|fx-opt`.

The same file gives the same text: no addresses, times, places in the file system or hash order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import fx

from gmc.compiler.driver import Compiled
from gmc.compiler.emitter import inputs
from gmc.compiler.graph import FactorGraph
from gmc.compiler.pictures.listing import schedule_text
from gmc.compiler.pictures.names import (
    clamp_source,
    factor_text,
    gain_text,
    part_name,
    shape_text,
    start_source,
    sweep_text,
    type_text,
)
from gmc.compiler.program import Program
from gmc.compiler.region import Region, sites_of
from gmc.compiler.schedule import Schedule
from gmc.dsl import syntax
from gmc.dsl.errors.phrases import plural
from gmc.dsl.model import Chain, Checked, Clamp, Data, Stage
from gmc.dsl.vocabulary import Ramp

STAGES = ("ast", "model", "graph", "schedule", "fx", "fx-opt")
FEW = 8
"""Entries of a constant that are shown."""


def emit(stage: str, file: syntax.File, compiled: Compiled) -> str:
    """The text of a stage; ends with a newline.

    Raises:
        KeyError: there is no such stage; its argument is the name.
    """
    match stage:
        case "ast":
            return emit_ast(file)
        case "model":
            return emit_model(compiled.checked)
        case "graph":
            return emit_graph(compiled.graph)
        case "schedule":
            return emit_schedules(compiled.graph, compiled.schedules)
        case "fx" | "fx-opt":
            return emit_fx([compiled.program(name) for name in compiled.schedules], optimised=stage == "fx-opt")
        case _:
            raise KeyError(stage)


# ── The syntax tree ──────────────────────────────────────────────────────────────────────────────────────────────────


def emit_ast(file: syntax.File) -> str:
    """The syntax tree, a node a line, indented; without places and comments, and without what is not written."""
    return "\n".join(_tree(file, "", "")) + "\n"


def _tree(node: object, label: str, indent: str) -> Iterator[str]:
    head = f"{indent}{label}: " if label else indent
    match node:
        case syntax.Name():
            yield f"{head}Name {node.text}"
        case syntax.Number():
            yield f"{head}Number {node.text}"
        case syntax.String() | syntax.Docstring():
            yield f"{head}{type(node).__name__} {node.value!r}"
        case tuple():
            yield head.rstrip()
            for item in node:
                yield from _tree(item, "", f"{indent}  ")
        case _ if is_dataclass(node):
            yield f"{head}{type(node).__name__}"
            for entry in fields(node):
                value = getattr(node, entry.name)
                if entry.compare and value is not None and value != () and value is not False:
                    yield from _tree(value, entry.name, f"{indent}  ")
        case _:
            yield f"{head}{node}"


# ── The checked model ────────────────────────────────────────────────────────────────────────────────────────────────


def emit_model(checked: Checked) -> str:
    """The checked model, an item a line: names resolved, parameters and defaults filled in."""
    return "\n".join(_model(checked)) + "\n"


def _model(checked: Checked) -> Iterator[str]:
    for param in checked.params:
        bounds = "" if param.low is None and param.high is None else f" in [{param.low:g} .. {param.high:g}]"
        yield f"param {param.name} = {param.value:g}{bounds}"
    yield f"model {checked.model.name}"
    for variable in checked.model.variables:
        kind = "observed" if variable.observed else "latent"
        yield f"  {kind} {variable.name} : {type_text(variable)}"
    for edge in checked.model.edges:
        yield f"  edge {edge.name} : {edge} by {edge.factor}"
    if checked.data is not None:
        yield from _data(checked.data)
    for chain in checked.chains:
        yield from _chain(checked, chain)
    for objective in checked.objectives:
        terms = " + ".join(_weighted(term.weight, str(term.objective)) for term in objective.terms)
        yield f"objective {objective.name} = {terms}"
        yield from (f"  {line}" for term in objective.terms for line in term.objective.derived(checked.model))
    for stage in checked.stages:
        yield from _stage(stage)


def _weighted(weight: Ramp, objective: str) -> str:
    if weight.constant:
        return objective if weight.start == 1 else f"{weight} * {objective}"
    return f"({weight}) * {objective}"


def _data(data: Data) -> Iterator[str]:
    yield f"data {data.source}"
    for binding in data.bindings:
        pipe = " | ".join([binding.column, *(str(step.transform) for step in binding.steps)])
        yield f"  {binding.split} {binding.variable} = {pipe}"


def _chain(checked: Checked, chain: Chain) -> Iterator[str]:
    yield f"chain {chain.name}"
    for clamp in chain.clamps:
        yield f"  clamp {_clamped(checked, clamp)}"
    for gain in chain.gains:
        yield f"  {gain_text(gain)}"
    for start in chain.starts:
        yield f"  start {', '.join(start.variables)} from {start_source(start)}"
    if chain.sweep is not None:
        yield f"  sweep {sweep_text(chain)}"
    yield f"  sweeps {chain.sweeps}"
    yield f"  update {chain.rule}"


def _clamped(checked: Checked, clamp: Clamp) -> str:
    variable = checked.model.variable(clamp.variable)
    part = part_name(Region(variable, sites_of(variable, clamp.part)))
    source = clamp_source(clamp)
    return f"{part} {source}" if clamp.constant is not None else f"{part} from {source}"


def _stage(stage: Stage) -> Iterator[str]:
    yield f"train {stage.name}"
    for line in stage.minimize:
        of = f" of {', '.join(line.of)}" if line.of else ""
        times = f" times {line.times}" if line.times != 1 else ""
        yield f"  minimize {line.objective}{of} using {line.optimizer}{times}"
    yield f"  batch {stage.batch}"
    yield f"  epochs {stage.epochs}"
    if stage.watch:
        yield f"  watch {', '.join(map(str, stage.watch))} every {stage.every}"


# ── The factor graph ─────────────────────────────────────────────────────────────────────────────────────────────────


def emit_graph(graph: FactorGraph) -> str:
    """Variables, terms and parameters with their shapes, in columns."""
    variables = [
        (v.name, "observed" if v.observed else "latent", type_text(v), plural(v.sites, "site"), f"{v.size} statistics")
        for v in graph.variables
    ]
    terms = [
        (
            t.name,
            str(t.edge),
            factor_text(t),
            "" if t.owner == t.name else f"weights of {t.owner}",
        )
        for t in graph.terms
    ]
    parameters = [(p.name, p.role, shape_text(p.shape) or "one number") for p in graph.parameters]
    parts = [f"variables of {graph.model.name}", *_columns(variables), "", "terms", *_columns(terms)]
    return "\n".join([*parts, "", "parameters", *_columns(parameters)]) + "\n"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return ["  none"]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


# ── Schedules and programs ───────────────────────────────────────────────────────────────────────────────────────────


def emit_schedules(graph: FactorGraph, schedules: Mapping[str, Schedule]) -> str:
    """The schedule of every chain, in the order of the mapping."""
    return "\n".join(schedule_text(graph, schedule) for schedule in schedules.values())


def emit_fx(programs: Iterable[Program], optimised: bool) -> str:
    """The graphs of every chain as code: as emitted, or after the passes, in what is computed once and what each time."""
    return "\n\n".join(line for program in programs for line in _program(program, optimised)) + "\n"


def _program(program: Program, optimised: bool) -> Iterator[str]:
    for name, split in program.graphs().items():
        if name == "fresh" and not program.persistent:
            continue  # the same as `opening`
        title = f"chain {program.chain.name}, {_TITLES[name]}"
        if optimised:
            yield _module(split.once, f"{title}: once")
            yield _module(split.each, f"{title}: each time")
        else:
            yield _module(split.raw, title)


_TITLES = {
    "opening": "pass 0",
    "fresh": "pass 0 of a state that starts anew",
    "sweep": "a sweep",
    "last": "the last sweep",
    "alone": "pass 0 where no sweep follows",
}


def _module(module: fx.GraphModule, title: str) -> str:
    computed = sum(node.op == "call_function" for node in module.graph.nodes)
    if not computed and title.endswith("once"):
        return f"# {title}: nothing"
    lines = [f"# {title}: {plural(computed, 'operation')}"]
    lines.append(f"#   inputs: {', '.join(inputs(module)) or 'none'}")
    used = dict.fromkeys(str(node.target) for node in module.graph.nodes if node.op == "get_attr")
    lines += [f"#   {name} = {_constant(getattr(module, name))}" for name in used]
    # fx drops each value after its last use, which says nothing about the formula
    code = re.sub(r";  (?:\w+ = )+None", "", module.code.strip())
    return "\n".join([*lines, *(line.rstrip() for line in code.splitlines())])


def _constant(value: Any) -> str:
    assert isinstance(value, torch.Tensor)
    entries = value.flatten()[:FEW].tolist()
    more = ", .." if value.numel() > FEW else ""
    kind = str(value.dtype).removeprefix("torch.")
    return f"{kind}[{', '.join(map(str, value.shape))}] ({', '.join(map(str, entries))}{more})"
