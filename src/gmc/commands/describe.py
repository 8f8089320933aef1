"""What a .gm file holds, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import indent

from gmc.dsl.model import Checked, Objective, Param, Stage


def describe(checked: Checked) -> str:
    """Docstring, params, variables, edges, data, the chains with their schedules, objectives and stages."""
    lines = [checked.source.path]
    if checked.doc:
        lines.append(indent(checked.doc.strip(), "  "))
    for title, rows in _parts(checked):
        lines += ["", title, *_columns(rows)] if rows else []
    lines += ["", *_chains(checked)] if checked.chains else []
    return "\n".join(lines).rstrip() + "\n"


Rows = Sequence[tuple[str, ...]]


def _parts(checked: Checked) -> Iterator[tuple[str, Rows]]:
    from gmc.compiler.pictures.names import type_text
    from gmc.dsl.errors.phrases import plural

    model = checked.model
    yield "params", [(p.name, f"= {p.value:g}", _range(p), _first(p.doc)) for p in checked.params]
    kinds = {True: "observed", False: "latent"}
    variables = [
        (v.name, kinds[v.observed], type_text(v), plural(v.sites, "site"), _first(v.doc)) for v in model.variables
    ]
    yield f"model {model.name}{_after(model.doc)}", variables
    yield "edges", [(e.name, str(e), f"by {e.factor}", _first(e.doc)) for e in model.edges]
    if checked.data is not None:
        rows = [
            (b.split, b.variable, "= " + " | ".join([b.column, *(str(step.transform) for step in b.steps)]))
            for b in checked.data.bindings
        ]
        yield f"data from {checked.data.source}", rows
    yield "objectives", [(o.name, "= " + _sum(o), _first(o.doc)) for o in checked.objectives]
    yield "training", [row for stage in checked.stages for row in _stage(stage)]


def _range(param: Param) -> str:
    return "" if param.low is None or param.high is None else f"in [{param.low:g} .. {param.high:g}]"


def _sum(objective: Objective) -> str:
    """An objective as a file writes it."""
    terms = [
        str(term.objective) if str(term.weight) == "1" else f"({term.weight}) * {term.objective}"
        for term in objective.terms
    ]
    return " + ".join(terms)


def _stage(stage: Stage) -> Iterator[tuple[str, ...]]:
    name = stage.name
    for line in stage.minimize:
        of = f" of {', '.join(line.of)}" if line.of else ""
        times = f" times {line.times}" if line.times != 1 else ""
        yield name, f"minimize {line.objective}{of} using {line.optimizer}{times}", _first(stage.doc)
        name = ""
    watched = f", watch {', '.join(map(str, stage.watch))} every {stage.every}" if stage.watch else ""
    yield "", f"batch {stage.batch}, epochs {stage.epochs}{watched}", ""


def _chains(checked: Checked) -> Iterator[str]:
    from gmc.compiler.graph import build_graph
    from gmc.compiler.pictures.listing import schedule_text
    from gmc.compiler.schedule import build_schedule

    graph = build_graph(checked.model)
    for chain in checked.chains:
        yield schedule_text(graph, build_schedule(graph, chain)).rstrip()
        if chain.doc:
            yield indent(chain.doc.strip(), "  ")
        yield ""


def _first(doc: str | None) -> str:
    """The first line of a docstring."""
    return f"# {doc.strip().splitlines()[0]}" if doc and doc.strip() else ""


def _after(doc: str | None) -> str:
    first = _first(doc)
    return f"  {first}" if first else ""


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    found = list(rows)
    widths = [max(len(row[n]) for row in found) for n in range(len(found[0]))]
    # what no row has takes no room
    kept = [n for n, width in enumerate(widths) if width]
    return [("  " + "  ".join(f"{row[n]:<{widths[n]}}" for n in kept)).rstrip() for row in found]
