"""The text of each stage: complete, readable, and the same for the same file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gmc.runtime.words  # noqa: F401
from gmc.compiler.driver import Compiled, compile_checked
from gmc.compiler.emit import STAGES, emit, emit_ast, emit_fx, emit_graph, emit_model, emit_schedules
from gmc.dsl import syntax
from gmc.dsl.check.driver import check
from gmc.dsl.parser import parse
from gmc.dsl.source import Source
from gmc.dsl.vocabulary import VOCABULARY

TEXT = '''"""Half of it clamped."""
param hidden = 4 in [1 .. 100]

model rbm {
  observed v : bernoulli[2, 4]
  observed y : categorical(3)
  latent   h : bernoulli[hidden]
  edge v -- h
  edge labels : y -- h
}

data digits { v = image | threshold(0.5)  y = label }   # a comment

chain posterior { clamp v, y }
chain inpaint   { clamp v[:, 2:]  clamp y = 1  start h from noise  sweeps 5 }
chain negative  { start persistent(100)  sweep {v, y} then {h}  sweeps 1 -> 5 }

objective nll = likelihood(positive = posterior, negative = negative)

train { minimize nll using sgd(lr = 0.05 -> 0.0)  batch 100  epochs 20 }
'''


def compiled(text: str, path: str = "test.gm") -> tuple[syntax.File, Compiled]:
    source = Source(path, text)
    parsed = parse(source)
    assert parsed.ok
    result = check(parsed.file, source, VOCABULARY)
    assert result.checked is not None, [str(d) for d in result.diagnostics]
    return parsed.file, compile_checked(result.checked)


@pytest.fixture(scope="module")
def rbm() -> tuple[syntax.File, Compiled]:
    return compiled(TEXT)


def test_the_model_tells_gains_and_gates() -> None:
    items = "clamp v where observed  potent v -> h = 0.5  potent v_h = 0 -> 2  impotent v unless surprise(v) > 0.25  update mode"
    _, found = compiled("model m { observed v : spin[2] latent h : spin[3] edge v -- h } chain c { " + items + " }")
    lines = emit_model(found.checked).splitlines()
    at = lines.index("chain c")
    assert [line.strip() for line in lines[at + 1 :]] == [
        "clamp v from data where observed",
        "potent v -> h = 0.5",
        "potent v_h = 0 -> 2",
        "impotent v unless surprise(v) > 0.25",
        "sweeps 1",
        "update mode",
    ]


def test_syntax_tree() -> None:
    text = "model m { observed v : bernoulli[2]\n latent h : bernoulli(bias = none)\n edge v -- h }  # said aside"
    assert emit_ast(parse(Source("m.gm", text)).file) == (
        "File\n"
        "  statements:\n"
        "    Model\n"
        "      name: Name m\n"
        "      items:\n"
        "        Variable\n"
        "          kind: observed\n"
        "          name: Name v\n"
        "          family: Name bernoulli\n"
        "          shape:\n"
        "            Number 2\n"
        "        Variable\n"
        "          kind: latent\n"
        "          name: Name h\n"
        "          family: Call\n"
        "            name: Name bernoulli\n"
        "            keywords:\n"
        "              Keyword\n"
        "                name: Name bias\n"
        "                value: Name none\n"
        "        UndirectedEdge\n"
        "          ends:\n"
        "            Name v\n"
        "            Name h\n"
    )


def test_syntax_tree_tells_trees_apart() -> None:
    whole, part = (emit_ast(parse(Source("m.gm", f"chain c {{ clamp {p} }}")).file) for p in ("v", "v[:]"))
    assert whole != part
    first, again = (emit_ast(parse(Source("m.gm", t)).file) for t in ("param a = 1", "\n\n param   a = 1 # one"))
    assert first == again, "places and comments are left out"


def test_checked_model(rbm: tuple[syntax.File, Compiled]) -> None:
    assert emit_model(rbm[1].checked) == (
        "param hidden = 4 in [1 .. 100]\n"
        "model rbm\n"
        "  observed v : bernoulli[2, 4]\n"
        "  observed y : categorical(k = 3)\n"
        "  latent h : bernoulli[4]\n"
        "  edge v_h : v -- h by dense\n"
        "  edge labels : y -- h by dense\n"
        "data digits\n"
        "  train v = image | threshold(level = 0.5)\n"
        "  train y = label\n"
        "chain posterior\n"
        "  clamp v from data\n"
        "  clamp y from data\n"
        "  sweeps 1\n"
        "  update sample\n"
        "chain inpaint\n"
        "  clamp v[:, 2:] from data\n"
        "  clamp y = 1\n"
        "  start h from noise\n"
        "  sweeps 5\n"
        "  update sample\n"
        "chain negative\n"
        "  start v, y, h from persistent(n = 100)\n"
        "  sweep {v, y} then {h}\n"
        "  sweeps 1 -> 5\n"
        "  update sample\n"
        "objective nll = likelihood(positive = posterior, negative = negative)\n"
        "train train\n"
        "  minimize nll using sgd(lr = 0.05 -> 0)\n"
        "  batch 100\n"
        "  epochs 20\n"
    )


def test_weighted_objectives(rbm: tuple[syntax.File, Compiled]) -> None:
    call = "likelihood(positive = posterior, negative = negative)"
    text = TEXT.replace(f"nll = {call}", f"nll = 2 * {call} + (0.0 -> 1.0) * {call}")
    assert f"objective nll = 2 * {call} + (0 -> 1) * {call}\n" in emit_model(compiled(text)[1].checked)


def test_factor_graph(rbm: tuple[syntax.File, Compiled]) -> None:
    x = "\N{MULTIPLICATION SIGN}"
    assert emit_graph(rbm[1].graph) == (
        "variables of rbm\n"
        "  v  observed  bernoulli[2, 4]     8 sites  8 statistics\n"
        "  y  observed  categorical(k = 3)  1 site   3 statistics\n"
        "  h  latent    bernoulli[4]        4 sites  4 statistics\n"
        "\n"
        "terms\n"
        "  v_h     v -- h  dense\n"
        "  labels  y -- h  dense\n"
        "\n"
        "parameters\n"
        f"  v.bias         bias    2 {x} 4\n"
        "  y.bias         bias    3\n"
        "  h.bias         bias    4\n"
        f"  v_h.weight     weight  8 {x} 4\n"
        f"  labels.weight  weight  3 {x} 4\n"
    )


def test_factor_graph_without_edges() -> None:
    text = emit_graph(compiled("model m { observed v : bernoulli(bias = none) }")[1].graph)
    assert text.endswith("terms\n  none\n\nparameters\n  none\n")


def test_schedules_of_every_chain(rbm: tuple[syntax.File, Compiled]) -> None:
    text = emit_schedules(rbm[1].graph, rbm[1].schedules)
    assert [line for line in text.splitlines() if line.startswith("chain")] == [
        "chain posterior of rbm: 1 sweep, update sample",
        "chain inpaint of rbm: 5 sweeps, update sample",
        "chain negative of rbm: 1 -> 5 sweeps, update sample",
    ]


def test_graphs_as_emitted(rbm: tuple[syntax.File, Compiled]) -> None:
    program = rbm[1].program("inpaint")
    text = emit_fx([program], optimised=False)
    assert re.findall(r"(?m)^# (.*): \d+ operations?$", text) == [
        "chain inpaint, pass 0",
        "chain inpaint, a sweep",
        "chain inpaint, the last sweep",
        "chain inpaint, pass 0 where no sweep follows",
    ]
    sweep = text.split("# chain inpaint, a sweep")[1].split("# chain inpaint, the last sweep")[0]
    draws = [n for n in program.sweep.raw.graph.nodes if "draw" in str(n.target)]
    assert len(draws) == 2 == sweep.count("draws_draw_bernoulli(")
    assert sweep.splitlines()[1].startswith("#   inputs: ")
    for name in ("clamped.v", "clamped.y", "state.h", "v_h.weight", "labels.weight", "key", "sweep"):
        assert name in sweep.splitlines()[1]
    assert "= None" not in text


def test_graphs_after_the_passes(rbm: tuple[syntax.File, Compiled]) -> None:
    program = rbm[1].program("inpaint")
    text = emit_fx([program], optimised=True)
    once = text.split("# chain inpaint, a sweep: once")[1].split("# chain inpaint, a sweep: each time")[0]
    each = text.split("# chain inpaint, a sweep: each time")[1].split("\n\n#")[0]
    assert "clamped_v" in once and "draw" not in once.replace("draws", "")
    assert "draw_bernoulli(" in each and "hoisted_0" in each
    assert "labels_weight" not in each, "what depends on clamped values alone is not computed in each sweep"
    shown = {name: split for name, split in program.graphs().items() if name != "fresh"}
    for split in shown.values():
        operations = sum(n.op == "call_function" for n in split.each.graph.nodes)
        assert re.search(rf"each time: {operations} operations?\n", text)


def test_a_persistent_chain_has_a_pass_0_anew(rbm: tuple[syntax.File, Compiled]) -> None:
    assert "a state that starts anew" in emit_fx([rbm[1].program("negative")], optimised=False)
    assert "a state that starts anew" not in emit_fx([rbm[1].program("inpaint")], optimised=False)


def test_constants_are_told() -> None:
    text = "model m { observed s : spin[2, 2]\n edge s -- s by lattice }\nchain c { sweeps 2 }"
    assert re.search(
        r"#   constant_\d+ = int64\[2\] \(0, 3\)", emit_fx([compiled(text)[1].program("c")], optimised=False)
    )


def test_every_stage_by_name(rbm: tuple[syntax.File, Compiled]) -> None:
    texts = [emit(stage, *rbm) for stage in STAGES]
    assert len(set(texts)) == len(STAGES)
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in texts)
    assert not any(line != line.rstrip() for text in texts for line in text.splitlines())
    with pytest.raises(KeyError, match="llvm"):
        emit("llvm", *rbm)


def test_nothing_of_where_and_when(rbm: tuple[syntax.File, Compiled]) -> None:
    elsewhere = compiled(TEXT, "/somewhere/else/other.gm")
    for stage in STAGES:
        text = emit(stage, *rbm)
        assert text == emit(stage, *elsewhere)
        assert " at 0x" not in text and "test.gm" not in text


_PRINT = """
from tests.compiler.test_emit import STAGES, TEXT, compiled, emit
print(*(emit(stage, *compiled(TEXT)) for stage in STAGES))
"""


def test_same_file_same_bytes() -> None:
    root = Path(__file__).parents[2]
    texts = {
        subprocess.run(
            [sys.executable, "-c", _PRINT],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(texts) == 1 and "chain negative" in texts.pop()
