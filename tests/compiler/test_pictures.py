"""Pictures: what they show is what the schedule says, they fold, they do not depend on graphviz being there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from html import unescape
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import gmc.runtime.words  # noqa: F401
from gmc.compiler.errors import no_graphviz
from gmc.compiler.factor import Complete
from gmc.compiler.graph import FactorGraph, Term, build_graph
from gmc.compiler.pictures.layout import Box, lane_of, lay_out
from gmc.compiler.pictures.looks import label_width, size
from gmc.compiler.pictures.model import graph_dot
from gmc.compiler.pictures.names import part_name
from gmc.compiler.pictures.pruned import idle_starts
from gmc.compiler.pictures.render import render, svg
from gmc.compiler.pictures.schedule import BEND, schedule_dot, schedule_json, schedule_text
from gmc.compiler.pictures.walk import unroll
from gmc.compiler.region import Region, sites_of
from gmc.compiler.schedule import Schedule, build_schedule
from gmc.compiler.stationary import stationarity
from gmc.dsl.check import load_source
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.errors.catalogue import explain
from gmc.dsl.model import Chain, Clamp, Edge, Gain, Gate, Model, Operator, Start, Variable
from gmc.dsl.source import Source
from gmc.dsl.vocabulary import VOCABULARY, ConditionWord, FactorWord, FamilyWord, Ramp, StartWord, UpdateWord

SPAN = Source("test.gm", "model").span(0, 5)


def family(name: str, **arguments: object) -> FamilyWord:
    word = VOCABULARY.get("family", name)
    assert word is not None and issubclass(word, FamilyWord)
    return word(**arguments)


def factor(name: str, **arguments: object) -> FactorWord:
    word = VOCABULARY.get("factor", name)
    assert word is not None and issubclass(word, FactorWord)
    return word(**arguments)


def start(name: str, **arguments: object) -> StartWord:
    word = VOCABULARY.get("start", name)
    assert word is not None and issubclass(word, StartWord)
    return word(**arguments)


def variable(name: str, kind: FamilyWord, *shape: int, observed: bool = False) -> Variable:
    return Variable(name, observed, kind, shape, SPAN)


def edge(*ends: str, by: FactorWord | None = None, name: str | None = None, doc: str | None = None) -> Edge:
    return Edge(name or "_".join(ends), ends, by or factor("dense"), SPAN, doc)


def model(name: str, variables: Iterable[Variable], edges: Iterable[Edge]) -> FactorGraph:
    return build_graph(Model(name, tuple(variables), tuple(edges), SPAN))


def chain(
    name: str = "c",
    clamps: Iterable[Clamp] = (),
    starts: Iterable[Start] = (),
    sweeps: Ramp | int = 1,
    sweep: tuple[tuple[str, ...], ...] | None = None,
    gains: Iterable[Gain] = (),
    update: str = "sample",
) -> Chain:
    length = sweeps if isinstance(sweeps, Ramp) else Ramp(float(sweeps), float(sweeps))
    rule = VOCABULARY.get("update", update)
    assert rule is not None and issubclass(rule, UpdateWord)
    return Chain(name, tuple(clamps), tuple(starts), sweep, length, rule(), SPAN, gains=tuple(gains))


def potent(what: str, value: float | Ramp, target: str | None = None, unless: Gate | None = None) -> Gain:
    """A gain of a variable, or of an edge, whose name has an underscore or is `labels`."""
    of_edge = "_" in what or what == "labels"
    ramp = value if isinstance(value, Ramp) else Ramp(value, value)
    return Gain(None if of_edge else what, target, what if of_edge else None, ramp, SPAN, unless)


def surprise(of: str, threshold: float, operator: Operator = ">") -> Gate:
    word = VOCABULARY.get("condition", "surprise")
    assert word is not None and issubclass(word, ConditionWord)
    return Gate(word(of=of), operator, threshold, SPAN)


def observed(name: str, part: tuple[tuple[int, int], ...] | None = None) -> Clamp:
    return Clamp(name, part, SPAN, observed=True)


def whole(name: str) -> Clamp:
    return Clamp(name, None, SPAN)


BIT = family("bernoulli")
RBM = model("rbm", [variable("v", BIT, 8, 8, observed=True), variable("h", BIT, 5)], [edge("v", "h")])
DBM = model(
    "dbm",
    [
        variable("v", BIT, 4, 4, observed=True),
        variable("y", family("categorical", k=10), observed=True),
        variable("h1", BIT, 5),
        variable("h2", BIT, 6),
    ],
    [edge("v", "h1"), edge("h1", "h2"), edge("h2", "y", name="labels")],
)
ISING = model(
    "ising",
    [variable("s", family("spin"), 4, 4, observed=True)],
    [edge("s", "s", by=factor("lattice", boundary="periodic"))],
)
POTTS = model(
    "potts",
    [
        variable("x", family("categorical", k=3), 4, observed=True),
        variable("y", family("categorical", k=4), 3),
        variable("z", BIT, 5),
    ],
    [edge("x", "y", "z"), edge("x", "y")],
)
LATERAL = model(
    "lateral", [variable("v", BIT, 3, observed=True), variable("h", BIT, 2)], [edge("v", "v"), edge("v", "h")]
)
BOLTZMANN = model(
    "boltzmann",
    [variable("v", BIT, 64, observed=True), variable("h", BIT, 8)],
    [edge("v", "v"), edge("h", "h"), edge("v", "h")],
)

DBM3 = model(
    "dbm3",
    [variable("v", BIT, 4, 4, observed=True), variable("h1", BIT, 5), variable("h2", BIT, 6), variable("h3", BIT, 2)],
    [edge("v", "h1"), edge("h1", "h2"), edge("h2", "h3")],
)
RIGHT = Clamp("v", ((0, 8), (4, 8)), SPAN)
GATED = potent("v", 0.0, unless=surprise("v", 0.5))
CASES: dict[str, tuple[FactorGraph, Chain]] = {
    "dreaming": (RBM, chain(sweeps=3)),
    "posterior": (RBM, chain(clamps=[whole("v")])),
    "inpaint": (RBM, chain(clamps=[RIGHT], sweeps=3)),
    "two clamps": (RBM, chain(clamps=[RIGHT, Clamp("v", ((0, 8), (0, 2)), SPAN, constant=1.0)], sweeps=2)),
    "persistent": (RBM, chain(starts=[Start(("v", "h"), start("persistent", n=100), SPAN)])),
    "draw": (DBM, chain(clamps=[Clamp("y", None, SPAN, constant=3.0)], sweeps=3)),
    "ready": (
        DBM,
        chain(clamps=[Clamp("h2", None, SPAN, chain="p")], starts=[Start(("v", "h1"), "p", SPAN)], sweeps=2),
    ),
    "written": (DBM, chain(sweeps=2, sweep=(("v",), ("h1", "y"), ("h2",), ("h1",)))),
    "ising": (ISING, chain(starts=[Start(("s",), start("noise"), SPAN)], sweeps=2)),
    "ising in part": (ISING, chain(clamps=[Clamp("s", ((0, 2), (0, 4)), SPAN)], sweeps=2)),
    "third order": (POTTS, chain(sweeps=2)),
    "third order clamped": (POTTS, chain(clamps=[whole("x")], sweeps=2)),
    "third order in part": (POTTS, chain(clamps=[Clamp("x", ((1, 3),), SPAN), Clamp("y", ((0, 1),), SPAN)], sweeps=2)),
    "lateral": (LATERAL, chain(sweeps=2)),
    "lateral in part": (LATERAL, chain(clamps=[Clamp("v", ((0, 1),), SPAN)], sweeps=2)),
    "present at hand": (DBM3, chain(clamps=[whole("v")], sweeps=3, gains=[potent("h2", 0.25)])),
    "daydreaming": (DBM3, chain(clamps=[whole("v")], sweeps=2, gains=[potent("v", 0.0)])),
    "zoned out": (DBM3, chain(clamps=[whole("v")], sweeps=2, gains=[GATED])),
    "zoned out in part": (
        DBM3,
        chain(clamps=[Clamp("v", ((0, 4), (2, 4)), SPAN)], sweeps=2, gains=[GATED, potent("h1", 0.5, target="v")]),
    ),
    "two gates": (
        DBM3,
        chain(
            clamps=[whole("v"), whole("h3")],
            sweeps=2,
            gains=[GATED, potent("h3", 0.0, unless=surprise("h3", 0.1)), potent("h2", 0.0, "h1", surprise("v", 2.0))],
        ),
    ),
    "annealed": (DBM3, chain(sweeps=3, gains=[potent("v_h1", Ramp(0.0, 1.0)), potent("h2", Ramp(0.5, 1.0))])),
    "tempered": (RBM, chain(clamps=[RIGHT], sweeps=2, gains=[potent("v_h", 3.0)])),
    "missing": (DBM3, chain(clamps=[observed("v")], sweeps=2)),
    "missing, started": (DBM3, chain(clamps=[observed("v")], starts=[Start(("v", "h3"), start("noise"), SPAN)])),
    "missing, started and read": (RBM, chain(clamps=[observed("v")], starts=[Start(("v",), start("data"), SPAN)])),
    "missing in part": (
        ISING,
        chain(clamps=[Clamp("s", ((0, 1), (0, 4)), SPAN), observed("s", ((1, 3), (0, 4)))], sweeps=2),
    ),
    "missing, gated": (
        DBM3,
        chain(clamps=[observed("v")], sweeps=2, gains=[potent("v", 0.0, "h1", surprise("v", 0.5, "<="))]),
    ),
    "one after the other": (
        DBM3,
        chain(clamps=[whole("v")], sweeps=2, gains=[potent("h2", 0.0), potent("h1", 0.5, target="h2")]),
    ),
    "third order gated": (
        POTTS,
        chain(
            clamps=[whole("x"), Clamp("y", ((1, 3),), SPAN)],
            sweeps=2,
            gains=[potent("z", 0.0, "y", surprise("x", 1.0)), potent("x_y_z", 1.5)],
        ),
    ),
    "lateral gated": (
        LATERAL,
        chain(clamps=[Clamp("v", ((0, 2),), SPAN)], sweeps=2, gains=[potent("v", 0.0, "v", surprise("v", 1.0))]),
    ),
    "nothing to sweep": (RBM, chain(clamps=[whole("v")], gains=[potent("v", Ramp(0.0, 0.5))], sweeps=3)),
    "pass 0 alone": (RBM, chain(clamps=[whole("v")], gains=[potent("v", Ramp(0.25, 0.5))], sweeps=0)),
}
cases = pytest.mark.parametrize(("graph", "given"), CASES.values(), ids=CASES)


# ── Reading DOT ──────────────────────────────────────────────────────────────────────────────────────────────────────

_TEXT = r'"((?:[^"\\]|\\.)*)"'


def _attributes(text: str) -> dict[str, str]:
    markup = re.search(r"label=(<.*>)(?=, \w+=|\])", text)
    found = dict(re.findall(rf"(\w+)={_TEXT}", text.replace(markup[1], '""') if markup else text))
    return found | ({"label": markup[1]} if markup else {})


def nodes_of(dot: str) -> dict[str, dict[str, str]]:
    return {name: _attributes(rest) for name, rest in re.findall(rf"(?m)^ *{_TEXT} (\[.*\])$", dot)}


def edges_of(dot: str) -> list[tuple[str, str, dict[str, str]]]:
    found = re.findall(rf"(?m)^ *{_TEXT}(?::{_TEXT})? (?:->|--) {_TEXT}(?::{_TEXT})? (\[.*\])$", dot)
    return [(tail, head, _attributes(rest)) for tail, _, head, _, rest in found]


# ── Messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def meet(term: Term, a: int, i: int, b: int, j: int) -> bool:
    """Whether site i of end a and site j of end b are in one product of the term, naively."""
    structure = term.factor.structure(term.ends)
    if isinstance(structure, Complete):
        return not term.edge.lateral or i != j
    pairs = set(zip(structure.first.tolist(), structure.second.tolist(), strict=True))
    return (i, j) in pairs or (j, i) in pairs if term.edge.lateral else ((i, j) if a < b else (j, i)) in pairs


Label = tuple[str, object]
Arrow = tuple[str, frozenset[Label], Label, bool, float]
"""Term, values and gates read, value drawn, whether it was computed once, gain."""


def gain_of(chain: Chain, term: Term, slot: int, progress: float | None) -> tuple[float, frozenset[Label]] | None:
    """What scales a message, and the gates that let it through; None where it is not sent. `progress` is None in pass 0."""
    scale, gates = 1.0, set()
    others = [end.name for n, end in enumerate(term.ends) if n != slot]
    for gain in chain.gains:
        if gain.edge != term.name and not (gain.variable in others and gain.target in (None, term.ends[slot].name)):
            continue
        if gain.unless is not None and progress is not None:
            gates.add(("gate", str(gain.unless)))
            continue
        if gain.value.start == 0.0 and (progress is None or gain.value.end == 0.0):
            return None
        scale *= gain.value.at(progress or 0.0)
    return scale, frozenset(gates)


def expected_arrows(graph: FactorGraph, schedule: Schedule, sweeps: int) -> set[Arrow]:
    """What the picture must show: by walking through time a site at a time."""
    holder: dict[tuple[str, int], Label] = {}
    idle = idle_starts(graph, schedule)
    for number, clamp in enumerate(c for c in schedule.chain.clamps if not c.observed):
        sites = sites_of(graph.model.variable(clamp.variable), clamp.part).tolist()
        holder.update({(clamp.variable, s): ("clamped", number) for s in sites})
    for name, region in schedule.masked.items():
        if name not in schedule.supplied:
            holder.update({(name, s): ("held", name) for s in region.sites.tolist()})
    for name in schedule.supplied:
        if name in schedule.active and name not in idle:
            holder.update({(name, s): ("start", name) for s in schedule.active[name].sites.tolist()})
    arrows: set[Arrow] = set()
    passes = [(0, block) for block in schedule.pass_0]
    passes += [(number, block) for number in range(1, sweeps + 1) for block in schedule.blocks]
    passes += [(sweeps, block) for block in schedule.deferred]
    order = {v.name: n for n, v in enumerate(graph.variables)}
    count = 0
    swept = {region.name for block in schedule.blocks for region in block} if sweeps else set()
    for number, block in passes:
        progress = None if number == 0 else 1.0 if sweeps == 1 else (number - 1) / (sweeps - 1)
        drawn: dict[tuple[str, int], Label] = {}
        for region in sorted(block, key=lambda r: order[r.name]):
            target: Label = ("drawn", count)
            count += 1
            drawn.update({(region.name, s): target for s in region.sites.tolist()})
            for term, slot, choice in heard(graph, region, holder):
                sent = gain_of(schedule.chain, term, slot, progress)
                if sent is not None:
                    fixed = all(label[0] == "clamped" for part in choice for label in part)
                    read = frozenset().union(*choice) | sent[1]
                    arrows.add((term.name, read, target, fixed and region.name in swept, sent[0]))
        holder.update(drawn)
    return arrows


def heard(
    graph: FactorGraph, region: Region, holder: dict[tuple[str, int], Label]
) -> Iterable[tuple[Term, int, tuple[set[Label], ...]]]:
    """The messages into a region, with the values at each other end, clamped ones apart."""
    for term in graph.terms:
        names = [v.name for v in term.ends]
        if region.name not in names:
            continue
        slot = len(names) - 1 - names[::-1].index(region.name)
        held = [
            {
                holder[names[end], j]
                for j in range(term.ends[end].sites)
                if (names[end], j) in holder and any(meet(term, slot, i, end, j) for i in region.sites.tolist())
            }
            for end in range(len(names))
            if end != slot
        ]
        parts = [
            ({label for label in h if label[0] == "clamped"}, {label for label in h if label[0] != "clamped"})
            for h in held
        ]
        for choice in product(*([part for part in both if part] for both in parts)):
            yield term, slot, choice


def labels_of(dot: str) -> dict[str, Label]:
    """What each node of a picture is, by its look; those that hold values are counted by kind."""
    labels: dict[str, Label] = {}
    counts = {"clamped": 0, "drawn": 0}
    numbered = [(name, look) for name, look in nodes_of(dot).items() if re.fullmatch(r"n\d+", name)]
    for name, look in sorted(numbered, key=lambda each: int(each[0][1:])):
        variable = look["tooltip"].partition(" :")[0].partition("[")[0]
        if look.get("shape") == "diamond":
            labels[name] = "gate", unescape(re.sub("<.*?>", "", look["label"][1:-1]))
        elif "once a run" in look["tooltip"]:
            labels[name] = "once", name
        elif "dashed" in look["style"]:
            labels[name] = "start", variable
        elif look["style"] == "filled" and "peripheries" not in look:
            labels[name] = "held", variable
        else:
            kind = "clamped" if look.get("fillcolor") == "#d4d4d4" else "drawn"
            labels[name] = kind, counts[kind]
            counts[kind] += 1
    return labels


def drawn_arrows(dot: str) -> set[Arrow]:
    """The same as read off the picture."""
    labels = labels_of(dot)
    into: dict[str, set[str]] = {}
    messages: dict[tuple[str, str, bool, float, str], set[str]] = {}
    for tail, head, look in edges_of(dot):
        if look.get("style") == "dotted" or look["tooltip"].startswith("looked at"):
            continue
        if head.startswith("product"):
            into.setdefault(head, set()).add(tail)
            assert look["arrowhead"] == "none"
            continue
        gain = re.search("\N{MULTIPLICATION SIGN} (.*)", look.get("label", ""))
        once = labels.get(tail, ("product", tail))[0] == "once"
        key = look["tooltip"].split(":")[0], head, once, float(gain[1]) if gain else 1.0, ""
        if tail in into:
            arriving = into.pop(tail)
            assert (look.get("style") == "dashed") == any(labels[n][0] == "gate" for n in arriving)
            once = any(labels[n][0] == "once" for n in arriving)
            messages[key[0], head, once, key[3], tail] = arriving
        else:
            assert look.get("style") != "dashed"
            messages.setdefault(key, set()).update([tail])
    assert not into, "a product that goes nowhere"
    sources = {head: tails for (_, head, *_), tails in messages.items() if labels[head][0] == "once"}

    def read(tails: set[str]) -> frozenset[Label]:
        return frozenset(labels[n] for tail in tails for n in sources.get(tail, {tail}))

    found = {(key[0], read(tails), labels[key[1]], key[2], key[3]) for key, tails in messages.items()}
    return {arrow for arrow in found if arrow[2][0] != "once"}


@cases
def test_arrows_are_the_messages(graph: FactorGraph, given: Chain) -> None:
    schedule = build_schedule(graph, given)
    found = drawn_arrows(schedule_dot(graph, schedule, sweeps_shown=3))
    wanted = expected_arrows(graph, schedule, int(given.sweeps.start))
    assert found == wanted
    assert wanted or given.gains


@cases
def test_each_region_is_a_node(graph: FactorGraph, given: Chain) -> None:
    schedule = build_schedule(graph, given)
    nodes = {k: v for k, v in nodes_of(schedule_dot(graph, schedule, 3)).items() if re.fullmatch(r"n\d+", k)}
    for block in (*schedule.blocks, *schedule.pass_0, *schedule.deferred):
        for region in block:
            shown = [n for n in nodes.values() if n["tooltip"].startswith(f"{part_name(region)} :")]
            assert shown
            for look in shown:
                assert f"<b>{part_name(region)}</b>" in look["label"]
                assert str(region.variable.family) in look["label"]
                assert f"{region.sites.size}" in look["label"]


def test_clamped_nodes_look_clamped() -> None:
    clamps = [whole("v"), Clamp("y", None, SPAN, constant=3.0), Clamp("h2", None, SPAN, chain="predict")]
    nodes = nodes_of(schedule_dot(DBM, build_schedule(DBM, chain(clamps=clamps))))
    looks = [nodes[f"n{n}"] for n in range(3)]
    for look, source in zip(looks, ("from the data", "constant = 3", "from chain predict"), strict=True):
        assert look["peripheries"] == "2"
        assert look["fillcolor"] == "#d4d4d4"
        assert "\N{BLACK SQUARE}" in look["label"]
        assert source in look["label"]
    free = [look for name, look in nodes.items() if name.startswith("n") and look not in looks]
    assert free
    assert all("peripheries" not in look and "fillcolor" not in look for look in free)


def test_starts_say_where_they_come_from() -> None:
    starts = [Start(("h1",), start("persistent", n=100), SPAN), Start(("h3",), start("noise"), SPAN)]
    nodes = nodes_of(schedule_dot(DBM3, build_schedule(DBM3, chain(starts=starts))))
    assert "dashed" in nodes["n0"]["style"] and "from persistent(n = 100)" in nodes["n0"]["label"]
    assert "from noise" in nodes["n1"]["label"]


def test_starts_that_nothing_reads_are_left_out() -> None:
    given = chain(starts=[Start(("v", "h"), start("noise"), SPAN)])
    schedule = build_schedule(RBM, given)
    dot = schedule_dot(RBM, schedule)
    assert {label for label in labels_of(dot).values() if label[0] == "start"} == {("start", "h")}
    assert "left out, since nothing reads it before it is drawn again: the start of v" in dot
    assert schedule_json(RBM, schedule)["pruned"]["starts"] == ["v"]
    alone = schedule_dot(RBM, build_schedule(RBM, replace(given, sweeps=Ramp(0.0, 0.0))))
    assert {("start", "v"), ("start", "h")} <= set(labels_of(alone).values()), "pass 0 alone stores them"


# ── Gains, gates, what is held, what is hoisted ─────────────────────────────────────────────────────────────────────


def widths(dot: str, head: str) -> set[float]:
    """The weights of the arrows into the values of a variable."""
    names = {name for name, look in nodes_of(dot).items() if look.get("tooltip", "").startswith(f"{head} :")}
    return {float(look.get("penwidth", "1.1")) for _, to, look in edges_of(dot) if to in names}


@pytest.mark.parametrize(
    ("gain", "wide"),
    [(0.5, 0.55), (1.0, 1.1), (2.0, 2.2), (100.0, 4.5), (0.01, 0.3)],
    ids=["half", "full", "double", "huge", "tiny"],
)
def test_weight_of_an_arrow_is_its_gain(gain: float, wide: float) -> None:
    dot = schedule_dot(RBM, build_schedule(RBM, chain(gains=[potent("v_h", gain)])))
    assert widths(dot, "v") == widths(dot, "h") == {wide}
    assert (f"\N{MULTIPLICATION SIGN} {gain:g}" in dot) == (gain != 1.0)
    assert ("weight of an arrow" in dot) == (gain != 1.0)


def test_ramps_show_where_they_stand() -> None:
    def told(sweeps: Ramp | int) -> set[str]:
        given = chain(sweeps=sweeps, gains=[potent("v_h", Ramp(0.0, 1.0))])
        dot = schedule_dot(RBM, build_schedule(RBM, given))
        return {look["label"][2:] for _, _, look in edges_of(dot) if "label" in look}

    assert told(20) == {"0", "0.053", "1"}
    assert told(Ramp(1.0, 25.0)) == {"0 -> 1", "1"}, "how far it has come is not known"
    assert told(1) == {"1"}


def test_messages_of_gain_0_are_listed_and_not_drawn() -> None:
    schedule = build_schedule(*CASES["daydreaming"])
    dot = schedule_dot(DBM3, schedule)
    clamped = next(name for name, label in labels_of(dot).items() if label[0] == "clamped")
    assert not [edge for edge in edges_of(dot) if clamped in edge[:2]]
    assert "gain 0, never sent: v \N{RIGHTWARDS ARROW} h1" in dot
    assert "  left out v -> h1                  gain 0: never sent along v_h1\n" in schedule_text(DBM3, schedule)
    data = schedule_json(DBM3, schedule)
    assert data["pruned"]["messages"] == [{"edge": "v_h1", "from": ["v"], "to": "h1"}]
    assert not [m for m in data["messages"] if m["edge"] == "v_h1"]


def test_a_gate_looks_at_its_variable_and_its_neighbours() -> None:
    graph, given = CASES["zoned out in part"]
    timeline = unroll(graph, build_schedule(graph, given), 3)
    for group in timeline.groups[2:]:
        (gate,) = group.columns[0].nodes
        looked = [node for node, at in timeline.tests if at is gate]
        assert {(n.region.name, n.phase == "clamped") for n in looked} == {("v", True), ("h1", False)}
        before = max(
            n.number for n in timeline.nodes if n.region.name == "h1" and n.number < gate.number and n.phase != "once"
        )
        assert max(n.number for n in looked) == before, "as the sweep starts"
    assert not any(m.gates for m in timeline.messages if m.target.phase == "pass"), "closed in pass 0"
    dot = schedule_dot(graph, build_schedule(graph, given))
    assert "diamond: a gate" in dot and "dashed arrow: sent where the gate is open" in dot


def test_gates_also_look_at_sites_beside_them() -> None:
    timeline = unroll(LATERAL, build_schedule(*CASES["lateral gated"]), 1)
    gate = next(n for n in timeline.nodes if n.phase == "gate")
    looked = [node for node, at in timeline.tests if at is gate]
    assert sorted((n.region.name, n.region.sites.tolist()) for n in looked) == [
        ("h", [0, 1]),
        ("v", [0, 1]),
        ("v", [2]),
    ]


def test_gates_in_words() -> None:
    text = schedule_text(*((CASES["zoned out"][0], build_schedule(*CASES["zoned out"]))))
    assert "  impotent v                        sends nothing unless surprise(v) > 0.5\n" in text
    assert "  gate     surprise(v) > 0.5        reads v, h1 as a sweep starts, each chain for itself\n" in text
    assert "h1                 reads v (once, if surprise(v) > 0.5), h2\n" in text
    assert "  pass 0   1.    h1                 at its bias\n" in text


def test_what_rows_may_hold_is_half_grey() -> None:
    schedule = build_schedule(*CASES["missing"])
    dot = schedule_dot(DBM3, schedule)
    nodes, labels = nodes_of(dot), labels_of(dot)
    half = {name for name, look in nodes.items() if look.get("fillcolor", "").startswith("#d4d4d4;")}
    assert half == {name for name, look in nodes.items() if look.get("tooltip", "").startswith("v :")}
    assert [labels[name][0] for name in sorted(half)].count("held") == 1
    assert "from the data where observed" in dot and "where not observed" in dot and "half grey" in dot
    text = schedule_text(DBM3, schedule)
    assert "from data where observed, the rest is drawn; bernoulli[4, 4], 16 sites" in text
    assert "1.    h1                 reads v (what is observed)" in text
    messages = schedule_json(DBM3, schedule)["messages"]
    assert [m["pass"] for m in messages if any(r["held"] for r in m["reads"])] == ["opening"]


def test_what_is_hoisted_stands_once() -> None:
    dot = schedule_dot(RBM, build_schedule(RBM, chain(clamps=[RIGHT], sweeps=50)))
    (once,) = (name for name, label in labels_of(dot).items() if label[0] == "once")
    (into,) = (look for _, head, look in edges_of(dot) if head == once)
    out = [look for tail, _, look in edges_of(dot) if tail == once]
    assert "penwidth" not in into
    assert [look["penwidth"] for look in out] == ["0.60"] * 4, "pass 0, two sweeps, and the last"
    assert "once a run" in nodes_of(dot)["head_0_1"]["label"]


def test_draws_after_the_sweeps_stand_in_their_order() -> None:
    schedule = build_schedule(*CASES["one after the other"])
    assert [[r.name for r in block] for block in schedule.deferred] == [["h1", "h3"], ["h2"]]
    timeline = unroll(DBM3, schedule, 2)
    assert [(c.title, [n.region.name for n in c.nodes]) for c in timeline.groups[-1].columns] == [
        ("block 1", ["h1", "h3"]),
        ("block 2", ["h2"]),
    ]
    assert (
        "  after    1.    h1                 reads v (once)\n                 h3                 at its bias\n           2.    h2                 reads h1 (times 0.5), h3\n"
        in schedule_text(DBM3, schedule)
    )


@pytest.mark.parametrize(
    ("update", "words"), [("mean", "mean field"), ("mode", "iterated conditional modes"), ("sample", "Gibbs sampling")]
)
def test_updates_are_named(update: str, words: str) -> None:
    schedule = build_schedule(RBM, chain(update=update))
    assert f"update {update} ({words})" in schedule_dot(RBM, schedule)
    assert f"update {update}\n" in schedule_text(RBM, schedule)


@cases
def test_legends_tell_what_occurs(graph: FactorGraph, given: Chain) -> None:
    schedule = build_schedule(graph, given)
    dot = schedule_dot(graph, schedule)
    kinds = {label[0] for label in labels_of(dot).values()}
    lines = {look.get("style", "") for _, _, look in edges_of(dot)}
    assert ("grey: clamped" in dot) == ("clamped" in kinds)
    assert ("half grey: held" in dot) == bool(schedule.masked)
    assert ("computed once a run, read" in dot) == ("once" in kinds)
    assert ("a gate, which" in dot) == ("gate" in kinds)
    assert ("dashed arrow" in dot) == ("dashed" in lines)
    assert ("dashed border" in dot) == ("start" in kinds)
    assert ("weight of an arrow" in dot) == (
        "\N{MULTIPLICATION SIGN} " in "".join(look.get("label", "") for _, _, look in edges_of(dot))
    )


@cases
def test_stationarity_is_told(graph: FactorGraph, given: Chain) -> None:
    schedule = build_schedule(graph, given)
    law = stationarity(graph, schedule)
    data = schedule_json(graph, schedule)
    assert (data["stationary"], data["why"]) == (law.holds, law.text)
    assert f"  law      {law.text}\n" in schedule_text(graph, schedule)
    shown = " ".join(unescape(re.sub("<.*?>", " ", schedule_dot(graph, schedule))).split())
    assert " ".join(law.text.split()) in shown


# ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def titles(graph: FactorGraph, given: Chain, shown: int = 2) -> list[str]:
    return [group.title for group in unroll(graph, build_schedule(graph, given), shown).groups]


@pytest.mark.parametrize(
    ("sweeps", "wanted"),
    [
        (0, ["pass 0"]),
        (1, ["pass 0", "sweep 1"]),
        (3, ["pass 0", "sweep 1", "sweep 2", "sweep 3"]),
        (4, ["pass 0", "sweep 1", "sweep 2", "", "sweep 4"]),
        (1000, ["pass 0", "sweep 1", "sweep 2", "", "sweep 1000"]),
        (Ramp(1.0, 20.0), ["pass 0", "sweep 1", "sweep 2", "", "last sweep"]),
    ],
)
def test_sweeps_that_are_shown(sweeps: Ramp | int, wanted: list[str]) -> None:
    assert titles(RBM, chain(sweeps=sweeps)) == wanted


def test_what_is_deferred_comes_last() -> None:
    clamps = [Clamp("h2", None, SPAN, chain="p")]
    assert titles(DBM, chain(clamps=clamps, sweeps=2)) == ["given", "pass 0", "sweep 1", "sweep 2", "after the sweeps"]
    assert titles(RBM, chain(clamps=[whole("v")])) == ["given", "drawn once"]


def test_what_is_not_shown_is_carried_over() -> None:
    timeline = unroll(RBM, build_schedule(RBM, chain(sweeps=9)), 2)
    carried = [n for n in timeline.nodes if n.phase == "carried"]
    assert [n.region.name for n in carried] == ["h"], "the next block redraws v unread"
    ((before, after),) = timeline.carried
    assert before.region.name == "h" and after is carried[0]
    first = min(n.number for n in timeline.nodes if n.number > carried[0].number and n.phase == "sweep")
    assert [m.sources for m in timeline.messages if m.target.number == first] == [((carried[0],),)]


# ── Folding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_many_blocks_fold_into_a_column() -> None:
    schedule = build_schedule(BOLTZMANN, chain(sweeps=50))
    assert len(schedule.blocks) == 72
    dot = schedule_dot(BOLTZMANN, schedule)
    nodes = nodes_of(dot)
    assert len(nodes) < 40
    folded = [look for look in nodes.values() if look.get("peripheries") == "3"]
    assert len(folded) == 2 * 4
    assert all("64 blocks, one site each" in n["label"] or "8 blocks, one site each" in n["label"] for n in folded)
    assert {"blocks 1 to 64", "blocks 65 to 72"} <= {look["label"] for look in nodes.values()}
    loops = [tail for tail, head, _ in edges_of(dot) if tail == head]
    assert len(loops) == len(folded), "each block reads those before it in the same column"


def test_few_blocks_stand_for_themselves() -> None:
    timeline = unroll(LATERAL, build_schedule(LATERAL, chain()), 2)
    assert not any(node.folded for node in timeline.nodes)
    assert not any(m.target in end for m in timeline.messages for end in m.sources)


def test_irregular_blocks_are_one_column() -> None:
    names = [f"a{n}" for n in range(14)]
    edges = [edge(a, b) for n, a in enumerate(names) for b in names[n + 1 :]]
    graph = model("clique", [variable(n, BIT, 2) for n in names], edges)
    timeline = unroll(graph, build_schedule(graph, chain()), 1)
    sweep = timeline.groups[-1]
    assert [len(column.nodes) for column in sweep.columns] == [14]
    assert sweep.columns[0].title == "blocks 1 to 14"
    assert "clique" in schedule_dot(graph, build_schedule(graph, chain()))


# ── Places ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def overlap(a: Box, b: Box) -> bool:
    return abs(a.x - b.x) < (a.width + b.width) / 2 and abs(a.y - b.y) < (a.height + b.height) / 2


@cases
def test_nothing_lies_over_anything(graph: FactorGraph, given: Chain) -> None:
    timeline = unroll(graph, build_schedule(graph, given), 2)
    layout = lay_out(graph, timeline, size, label_width)
    boxes = [(n, layout.nodes[n.number]) for n in timeline.nodes]
    for index, (_, a) in enumerate(boxes):
        for _, b in boxes[index + 1 :]:
            assert not overlap(a, b)
    for message in timeline.messages:
        left = layout.nodes[message.target.number].left[0]
        for source in (n for end in message.sources for n in end):
            x, y = layout.nodes[source.number].right
            along = Box((x + left - BEND) / 2, y, max(left - BEND - x, 0.0), 0.0)
            crossed = [n for n, box in boxes if n is not source and along.width and overlap(box, along)]
            assert not crossed, "a message runs through a node"
    for group, panel in zip(timeline.groups, layout.panels, strict=True):
        for node in (n for column in group.columns for n in column.nodes):
            box = layout.nodes[node.number]
            assert abs(box.x - panel.x) + box.width / 2 <= panel.width / 2 or group.phase == "carried"
            assert abs(box.y - panel.y) + box.height / 2 <= panel.height / 2


def test_a_part_keeps_its_lane() -> None:
    timeline = unroll(DBM, build_schedule(DBM, chain(sweeps=3)), 2)
    layout = lay_out(DBM, timeline, size, label_width)
    heights: dict[object, set[float]] = {}
    for node in timeline.nodes:
        heights.setdefault(lane_of(node), set()).add(layout.nodes[node.number].y)
    assert all(len(found) == 1 for found in heights.values())
    lanes = {name: min(found) for (name, _), found in heights.items()}
    assert lanes["v"] < lanes["y"] < lanes["h1"] < lanes["h2"]


# ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (((0, 8), (4, 8)), "v[:, 4:]"),
        (((0, 8), (0, 4)), "v[:, :4]"),
        (((2, 5), (3, 4)), "v[2:5, 3]"),
        (((7, 8), (0, 8)), "v[7, :]"),
        (None, "v"),
    ],
)
def test_names_of_rectangles(part: tuple[tuple[int, int], ...] | None, name: str) -> None:
    v = RBM.variables[0]
    assert part_name(Region(v, sites_of(v, part))) == name


def test_names_of_other_parts() -> None:
    v = RBM.variables[0]
    assert part_name(Region(v, np.array([0, 2, 9, 11, 20, 40]))) == "v[0, 2, 9, 11, ..]"
    assert part_name(Region(v, np.array([0, 9]))) == "v[0, 9]"


# ── Data and text ────────────────────────────────────────────────────────────────────────────────────────────────────


@cases
def test_json_rebuilds_the_schedule(graph: FactorGraph, given: Chain) -> None:
    schedule = build_schedule(graph, given)
    data = json.loads(json.dumps(schedule_json(graph, schedule)))

    def rebuilt(blocks: list[list[dict[str, object]]]) -> list[list[tuple[object, object]]]:
        return [[(r["variable"], r["sites"]) for r in block] for block in blocks]

    def own(blocks: Iterable[Iterable[Region]]) -> list[list[tuple[object, object]]]:
        return [[(r.name, r.sites.tolist()) for r in block] for block in blocks]

    assert rebuilt(data["blocks"]) == own(schedule.blocks)
    assert rebuilt(data["opening"]) == own(schedule.pass_0)
    assert rebuilt(data["deferred"]) == own(schedule.deferred)
    for regions, where_observed in ((schedule.clamped, False), (schedule.masked, True)):
        for name, region in regions.items():
            clamps = [c for c in data["clamped"] if c["variable"] == name and c["where_observed"] is where_observed]
            assert sorted(s for c in clamps for s in c["sites"]) == region.sites.tolist()
    assert data["sweeps"]["end"] == given.sweeps.end and data["update"] == "sample"


@cases
def test_json_messages_read_what_meets(graph: FactorGraph, given: Chain) -> None:
    schedule = build_schedule(graph, given)
    messages = [m for m in schedule_json(graph, schedule)["messages"] if m["pass"] == "sweep"]
    found = {
        (
            *(m["block"], m["variable"], m["edge"], tuple(tuple(r["sites"]) for r in m["reads"]), m["once"]),
            *(tuple(m["gain"]), frozenset(m["gates"])),
        )
        for m in messages
    }
    wanted = set()
    for number, block in enumerate(schedule.blocks):
        for region in block:
            for term, slot in graph.touching(region.name):
                sent = gain_of(given, term, slot, 0.0)
                ends = []
                for end, v in enumerate(term.ends):
                    if end != slot:
                        reach = {
                            j for j in range(v.sites) for i in region.sites.tolist() if meet(term, slot, i, end, j)
                        }
                        kinds = ((schedule.clamped, True), (schedule.active, False))
                        parts = [(sorted(reach & set(h[v.name].sites.tolist())), f) for h, f in kinds if v.name in h]
                        ends.append([(tuple(sites), fixed) for sites, fixed in parts if sites])
                for choice in product(*ends) if sent is not None else ():
                    once = all(fixed for _, fixed in choice)
                    last = gain_of(given, term, slot, 1.0)
                    assert sent is not None and last is not None
                    told = (sent[0], last[0]), frozenset(str(text) for _, text in sent[1])
                    wanted.add((number, region.name, term.name, tuple(s for s, _ in choice), once, *told))
    assert found == wanted


@cases
def test_json_messages_outside_sweeps(graph: FactorGraph, given: Chain) -> None:
    schedule = build_schedule(graph, given)
    sweeps = int(given.sweeps.start)
    order = {v.name: n for n, v in enumerate(graph.variables)}
    draws = [
        (where, number, region.name)
        for where, blocks in (
            ("opening", schedule.pass_0),
            *[("sweep", schedule.blocks)] * sweeps,
            ("deferred", schedule.deferred),
        )
        for number, block in enumerate(blocks)
        for region in sorted(block, key=lambda r: order[r.name])
    ]
    wanted = set()
    for edge_name, read, target, _, gain in expected_arrows(graph, schedule, sweeps):
        kinds = {kind for kind, _ in read} - {"gate"}
        gates = frozenset(str(text) for kind, text in read if kind == "gate")
        place = draws[int(str(target[1]))]
        wanted.add((*place, edge_name, "held" in kinds, kinds == {"clamped"}, gain, gates))
    found = {
        (
            *(m["pass"], m["block"], m["variable"], m["edge"], any(r["held"] for r in m["reads"]), m["once"]),
            *(m["gain"][1], frozenset(m["gates"])),
        )
        for m in schedule_json(graph, schedule)["messages"]
    }
    assert {m for m in found if m[0] != "sweep"} == {m for m in wanted if m[0] != "sweep"}


def test_text_of_a_schedule() -> None:
    given = chain("inpaint", [RIGHT], [Start(("h",), start("noise"), SPAN)], sweeps=50)
    assert schedule_text(RBM, build_schedule(RBM, given)) == (
        "chain inpaint of rbm: 50 sweeps, update sample\n"
        "  law      stationary energy: that of the model, given what is clamped\n"
        "  clamp    v[:, 4:]                 from data; bernoulli[8, 8], 32 of 64 sites\n"
        "  start    h                        from noise\n"
        "  sweep    1.    v[:, :4]           reads h\n"
        "           2.    h                  reads v[:, 4:] (once), v[:, :4]\n"
        "  left out v in pass 0              drawn again before anything reads it\n"
    )


def test_the_tutorial_shows_what_is_printed() -> None:
    page = (Path(__file__).parents[2] / "docs/tutorials/schedules.md").read_text(encoding="utf-8")
    program = re.search(r'TEXT = """(.*?)"""', page, re.DOTALL)
    assert program is not None
    checked = load_source(Source("schedules.gm", program[1])).checked
    shown = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    graph = build_graph(checked.model)
    told = {schedule_text(graph, build_schedule(graph, each)) for each in checked.chains}
    assert len(shown) == 3 and told.issuperset(shown)


def test_text_tells_folded_blocks_in_a_line() -> None:
    text = schedule_text(BOLTZMANN, build_schedule(BOLTZMANN, chain(sweeps=2)))
    assert "1-64. v                  64 blocks, one site each; reads v, h" in text
    assert len(text.splitlines()) == 6


def test_text_where_there_is_nothing_to_sweep() -> None:
    text = schedule_text(RBM, build_schedule(RBM, chain(clamps=[whole("v")])))
    assert "sweep    nothing" in text and "after    1.    h                  reads v (once)" in text


# ── The model ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_picture_of_a_model() -> None:
    dot = graph_dot(DBM)
    nodes = nodes_of(dot)
    assert set(nodes) == {"v", "y", "h1", "h2"}
    assert {name for name, look in nodes.items() if look.get("fillcolor") == "#e4e4e4"} == {"v", "y"}
    assert "bernoulli[4, 4]" in nodes["v"]["label"]
    labels = {(a, b): look["label"] for a, b, look in edges_of(dot)}
    assert set(labels) == {("v", "h1"), ("h1", "h2"), ("h2", "y")}
    assert "labels" in labels["h2", "y"] and "6 \N{MULTIPLICATION SIGN} 10" in labels["h2", "y"]


def test_lateral_terms_are_loops_and_triples_squares() -> None:
    assert ("v", "v") in {(a, b) for a, b, _ in edges_of(graph_dot(LATERAL))}
    dot = graph_dot(POTTS)
    assert {b if a == "edge x_y_z" else a for a, b, _ in edges_of(dot) if "edge x_y_z" in (a, b)} == {"x", "y", "z"}
    assert "12 \N{MULTIPLICATION SIGN} 12 \N{MULTIPLICATION SIGN} 5" in nodes_of(dot)["edge x_y_z"]["label"]


def test_shared_and_fixed_weights() -> None:
    variables = [variable("a", BIT, 3, observed=True), variable("b", BIT, 3), variable("c", BIT, 3)]
    tied = model("t", variables, [edge("a", "b"), edge("b", "c", by=factor("tied", to="a_b"))])
    assert "weights shared" in graph_dot(tied)
    fixed = model("f", variables[:1], [edge("a", "a", by=factor("lattice", coupling=0.44))])
    assert "nothing to learn" in graph_dot(fixed)


def test_docstrings_cannot_break_the_picture() -> None:
    doc = 'a "quoted" <b>bold</b> back\\slash\nline'
    graph = model("m", [variable("a", BIT, 2, observed=True), variable("b", BIT, 3)], [edge("a", "b", doc=doc)])
    ((_, _, look),) = edges_of(graph_dot(graph))
    assert look["tooltip"] == 'a \\"quoted\\" <b>bold</b> back\\\\slash\\nline'
    if shutil.which("dot"):
        assert svg(graph_dot(graph)) is not None


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def fake_dot(folder: Path, script: str) -> None:
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    done = render("graph {}", tmp_path / "m.dot")
    assert done.path.read_text() == "graph {}" and not done.diagnostics
    assert [p.name for p in tmp_path.iterdir()] == ["m.dot"]


def test_without_graphviz_the_text_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    done = render("graph {}", tmp_path / "m.svg")
    assert done.path == tmp_path / "m.dot" and done.path.read_text() == "graph {}"
    assert not (tmp_path / "m.svg").exists()
    (said,) = done.diagnostics
    assert said.code == "GM801" and not said.is_error
    assert said.help is not None
    for name in ("apt install graphviz", "brew install graphviz", "conda install graphviz", "dot -Tsvg"):
        assert name in said.help
    assert svg("graph {}") is None


def test_graphviz_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dot(tmp_path, "echo 'Format: \"pdf\" not recognized' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = render("graph {}", tmp_path / "m.pdf")
    (said,) = done.diagnostics
    assert said.code == "GM802" and 'Format: "pdf" not recognized' in said.message
    assert done.path.name == "m.dot" and done.path.read_text() == "graph {}"
    assert svg("graph {}") is None


def test_graphviz_draws_by_the_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dot(tmp_path, 'read text; echo "$* $text"')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert render("graph {}\n", tmp_path / "m.SVG").path.read_text() == "-Tsvg graph {}\n"
    assert render("graph {}\n", tmp_path / "m.png").path.read_text() == "-Tpng -Gdpi=144 graph {}\n"
    assert svg("graph {}\n") == "-Tsvg graph {}\n"


def test_unknown_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GmcError) as raised:
        render("graph {}", tmp_path / "m.jpeg")
    assert raised.value.exit_code == 2
    assert [d.code for d in raised.value.diagnostics] == ["GM803"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(GmcError) as raised:
        render("graph {}", tmp_path / "nowhere" / "m.dot")
    assert [d.code for d in raised.value.diagnostics] == ["GM804"]
    (tmp_path / "taken.dot").mkdir()
    with pytest.raises(GmcError):
        render("graph {}", tmp_path / "taken.dot")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.dot"], "nothing is left behind"


@pytest.mark.parametrize("code", ["GM801", "GM802", "GM803", "GM804"])
def test_codes_have_pages(code: str) -> None:
    assert explain(code).startswith(f"# {code}: ")
    assert no_graphviz(None, "a.svg", "a.dot").code == "GM801"


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_graphviz_takes_every_picture() -> None:
    dots = [schedule_dot(graph, build_schedule(graph, given)) for graph, given in CASES.values()]
    dots += [graph_dot(graph) for graph in (RBM, DBM, ISING, POTTS, LATERAL)]
    for dot in dots:
        done = subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 and done.stderr == ""
        assert "</svg>" in done.stdout


_PRINT = """
from tests.compiler.test_pictures import CASES, DBM, POTTS, build_schedule, graph_dot, schedule_dot, schedule_json, schedule_text
for graph, given in CASES.values():
    schedule = build_schedule(graph, given)
    print(schedule_dot(graph, schedule), schedule_json(graph, schedule), schedule_text(graph, schedule))
print(graph_dot(DBM), graph_dot(POTTS))
"""


def test_same_model_same_bytes() -> None:
    root = Path(__file__).parents[2]
    texts = {
        subprocess.run(
            [sys.executable, "-c", _PRINT],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(texts) == 1 and "digraph" in texts.pop()
