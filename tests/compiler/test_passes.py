"""Passes: what they change, what they say of it, and that chains are the same bit for bit whichever run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor, fx

from gmc.compiler.draws import DRAWS
from gmc.compiler.emitter import Emitter, inputs
from gmc.compiler.passes import DEFAULT, ORDER, chosen, copy, run_passes
from gmc.compiler.passes.hoist import fixed
from gmc.compiler.program import Program, build_program
from gmc.compiler.verify import verify
from gmc.runtime import chains
from gmc.runtime.chains import Given
from tests.compiler.replay import Case, case, key_of, part

CASES = [
    ("rbm", "clamp v[:, 1:]"),
    ("boltzmann", "clamp v[1:3]"),
    ("third_mixed", "clamp y[0], x[2]"),
    ("gaussian_mixed", "clamp x[1:], y"),
    ("sparse_lateral", ""),
    ("conv", "clamp v[0, 0:2], h[0, 0, 1:]"),
    ("lowrank_lateral", "clamp v[1:3]"),
]
CHAINS = 40
SUBSETS = [names for n in range(len(ORDER) + 1) for names in itertools.combinations(ORDER, n)]


def texts(module: fx.GraphModule) -> list[str]:
    return [n.format_node() or "" for n in module.graph.nodes]


def calls(module: fx.GraphModule) -> int:
    return sum(n.op == "call_function" for n in module.graph.nodes)


def evaluate(module: fx.GraphModule, values: Mapping[str, object]) -> list[Tensor]:
    """All outputs, as a list."""
    found = module(*(values[n] for n in inputs(module)))
    return list(fx.node.map_aggregate(found, lambda x: x) and flatten(found))


def flatten(out: object) -> list[Tensor]:
    if isinstance(out, dict):
        return [t for key in sorted(out) for t in flatten(out[key])]
    assert isinstance(out, Tensor)
    return [out]


def check_pass(name: str, module: fx.GraphModule, values: Mapping[str, object], delta: int | None = None) -> int:
    """What holds of every pass; the nodes it took away.

    The module changes only if `modified`, the nodes fall by `delta`, a second run changes nothing and says so, the graph stays right, and the
    outputs for the same keys are the same bits.
    """
    step = ORDER[name]
    before = copy(module)
    expected, text, marks = evaluate(before, values), texts(before), [n.meta.get("once") for n in before.graph.nodes]
    result = step(before)
    after = result.graph_module
    verify(after)
    changed = texts(after) != text or [n.meta.get("once") for n in after.graph.nodes] != marks
    assert result.modified == changed
    assert all(torch.equal(a, b) for a, b in zip(evaluate(after, values), expected, strict=True))
    found = len(text) - len(texts(after))
    assert delta is None or found == delta
    once = texts(after), [n.meta.get("once") for n in after.graph.nodes]
    again = step(after)
    assert not again.modified
    assert (texts(again.graph_module), [n.meta.get("once") for n in again.graph_module.graph.nodes]) == once
    return found


def values_of(given: Case) -> dict[str, object]:
    table = given.law.values[torch.arange(CHAINS) % len(given.law.values)]
    return given.values(given.statistics(table)) | {"key": key_of(CHAINS)}


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize(("model", "items"), CASES)
def test_every_pass_on_every_graph(name: str, model: str, items: str) -> None:
    given = case(model, items)
    for split in given.program.graphs().values():
        check_pass(name, split.raw, values_of(given))


def repeated(x: Emitter) -> fx.GraphModule:
    """Two equal products and a third of other arguments, a value that nothing reads, and one that does not change."""
    a, b, s = x.input("a", fixed=True), x.input("b", fixed=False), x.input("s", fixed=True)
    first, second, third = torch.mm(a, b), torch.mm(a, b), torch.mm(b, a)
    torch.mm(third, third)
    return x.module({"out": first + second + third + torch.exp(s)}, "Test")


def test_exact_counts() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    values = {"a": eye * 2, "b": eye + 1, "s": eye}
    module = repeated(Emitter())
    assert check_pass("share", module, values, delta=1) == 1
    assert check_pass("prune", module, values, delta=1) == 1
    assert check_pass("hoist", module, values, delta=0) == 0
    whole = run_passes(module, DEFAULT)
    assert len(module.graph.nodes) - len(whole.graph.nodes) == 2
    once = [n for n in whole.graph.nodes if n.meta.get("once")]
    assert [n.target for n in once] == [torch.exp]
    assert not any(n.meta.get("once") for n in module.graph.nodes), "the raw graph stays as it is"


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0)])
def test_share_keeps_numbers_of_different_types_apart(one: object, other: object) -> None:
    g = Emitter()
    a = g.input("a", fixed=False)
    module = g.module({"x": torch.mul(a, one), "y": torch.mul(a, other)}, "Test")  # type: ignore[arg-type]
    check_pass("share", module, {"a": torch.ones(2)}, delta=0)


def test_share_never_merges_draws_of_different_sites() -> None:
    """Equal fields, keys and sweeps, but two sites: two draws; the same site twice is one draw."""
    from gmc.compiler.draws import bernoulli

    g = Emitter()
    eta, key, sweep = g.input("eta", fixed=False), g.input("key", fixed=False), g.input("sweep", fixed=False)
    module = g.module(
        {"x": bernoulli(eta, key, 1, sweep), "y": bernoulli(eta, key, 2, sweep), "z": bernoulli(eta, key, 1, sweep)},
        "Test",
    )
    values = {"eta": torch.zeros(50, 9, dtype=torch.float64), "key": key_of(50), "sweep": 4}
    check_pass("share", module, values, delta=1)
    x, y, z = evaluate(run_passes(module, DEFAULT), values)
    assert torch.equal(x, z)
    assert not torch.equal(x, y)


@pytest.mark.parametrize(("model", "items"), CASES)
def test_draws_survive_all_passes(model: str, items: str) -> None:
    """Each draw of a sweep is there once, before and after."""
    given = case(model, items)
    regions = sum(len(block) for block in given.program.schedule.blocks)
    for split, count in ((given.program.sweep, regions), (given.program.last, len(given.program.drawn))):
        for module in (split.raw, split.whole, split.each):
            numbers = [n.args[2] for n in module.graph.nodes if n.target in DRAWS]
            assert len(numbers) == len(set(numbers)) == count
        assert not any(n.target in DRAWS for n in split.once.graph.nodes)


# ── Any choice of passes ─────────────────────────────────────────────────────────────────────────────────────────────


def chain(program: Program, given: Case, sweeps: int = 3) -> dict[str, dict[str, Tensor]]:
    """How chains end that start from given states."""
    table = given.law.values[torch.arange(CHAINS) % len(given.law.values)]
    statistics = given.statistics(table)
    clamped = {n: part(statistics[n], r) for n, r in program.schedule.clamped.items()}
    out = chains.run(program, given.weights, Given(clamped, {}, key_of(CHAINS), 5), sweeps, torch.float64)
    return {"state": dict(out.state), "value": dict(out.value), "mean": dict(out.mean)}


@pytest.mark.parametrize(("model", "items"), CASES)
def test_chains_are_bit_identical_whichever_passes_run(model: str, items: str) -> None:
    given = case(model, items)
    expected = chain(given.program, given)
    for names in SUBSETS if model in ("rbm", "gaussian_mixed") else SUBSETS[:1]:
        program = build_program(
            given.compiled.graph, given.program.schedule, passes=tuple(ORDER[name] for name in names)
        )
        found = chain(program, given)
        for want, by in expected.items():
            assert all(torch.equal(found[want][n], x) for n, x in by.items()), names
        for sweeps in (0, 1):
            assert_same(chain(given.program, given, sweeps), chain(program, given, sweeps))


def assert_same(a: Mapping[str, Mapping[str, Tensor]], b: Mapping[str, Mapping[str, Tensor]]) -> None:
    assert all(torch.equal(a[want][n], x) for want, by in b.items() for n, x in by.items())


def test_switches() -> None:
    assert chosen("") == DEFAULT
    assert chosen("-hoist") == (ORDER["share"], ORDER["prune"])
    assert chosen("-share, -prune,-hoist") == ()
    for wrong in ("hoist", "-fly", "-hoist,+prune"):
        with pytest.raises(KeyError):
            chosen(wrong)


# ── What is hoisted ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("model", "items"), CASES)
def test_nothing_that_stays_the_same_is_left_in_a_sweep(model: str, items: str) -> None:
    """Each call of the part that runs every sweep reads, directly, a state, a draw, a key or what depends on one."""
    given = case(model, items)
    for split in given.program.graphs().values():
        moving: set[fx.Node] = set()
        for node in split.each.graph.nodes:
            if node.op == "placeholder" and not node.meta["fixed"]:
                moving.add(node)
            elif node.op == "call_function":
                assert moving & set(node.all_input_nodes), f"{node.format_node()} could be computed once"
                moving.add(node)
        for node in split.once.graph.nodes:
            assert node.op != "placeholder" or node.meta["fixed"]
    assert any(n.op == "call_function" for n in given.program.sweep.once.graph.nodes)


def test_without_hoist_everything_runs_each_time() -> None:
    given = case("rbm", "clamp v[:, 1:]")
    program = build_program(given.compiled.graph, given.program.schedule, passes=chosen("-hoist"))
    assert calls(program.sweep.once) == 0
    assert calls(program.sweep.each) > calls(given.program.sweep.each)
    assert not any(fixed(n) for n in program.sweep.whole.graph.nodes if n.op == "call_function")


def shapes(given: Case) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the matrices that products in a sweep multiply by."""
    seen: list[tuple[str, tuple[int, ...]]] = []

    class Watch(fx.Interpreter):
        def call_function(self, target: object, args: tuple, kwargs: dict) -> object:  # type: ignore[type-arg]
            if target is torch.mm:
                seen.append(("mm", tuple(args[1].shape)))
            return super().call_function(target, args, kwargs)  # type: ignore[arg-type]

    split = given.program.sweep
    values = values_of(given)
    hoisted = split.once(*(values[n] for n in inputs(split.once)))
    Watch(split.each).run(*((values | hoisted)[n] for n in inputs(split.each)))
    return seen


def test_clamped_parts_are_no_part_of_a_sweep() -> None:
    """Two of six columns of v are free: both products are with a matrix of two rows or columns."""
    assert shapes(case("rbm")) == [("mm", (4, 6)), ("mm", (6, 4))]
    assert shapes(case("rbm", "clamp v[:, 1:]")) == [("mm", (4, 2)), ("mm", (2, 4))]
    assert shapes(case("rbm", "clamp v[0, 0:2], h[3]")) == [("mm", (3, 4)), ("mm", (4, 3))]
    assert shapes(case("dbm2", "clamp v")) == [("mm", (3, 3)), ("mm", (3, 3))]
    assert "clamped.v" not in inputs(case("rbm", "clamp v[:, 1:]").program.sweep.each)


def test_what_nobody_reads_is_drawn_once() -> None:
    """With v clamped the h of a restricted machine is drawn after the last sweep alone."""
    given = case("rbm", "clamp v")
    assert calls(given.program.sweep.each) == calls(given.program.opening.each) == 0
    assert [n.target.__name__ for n in given.program.last.each.graph.nodes if n.target in DRAWS] == ["draw_bernoulli"]


# ── The verifier ─────────────────────────────────────────────────────────────────────────────────────────────────────


def graph_with(target: object, *args: object, op: str = "call_function", **kwargs: object) -> fx.GraphModule:
    graph = fx.Graph()
    x = graph.placeholder("x")
    x.meta.update(input="x", fixed=False)
    graph.output(graph.create_node(op, target, (x, *args), kwargs))  # type: ignore[arg-type]
    return fx.GraphModule(torch.nn.Module(), graph)


REFUSED = [
    (torch.rand_like, (), {}),
    (torch.randn_like, (), {}),
    (torch.bernoulli, (), {}),
    (torch.normal, (), {}),
    (torch.multinomial, (1,), {}),
    (torch.poisson, (), {}),
    (torch.binomial, (0.5,), {}),
    (torch.nn.functional.dropout, (), {}),
    (torch.nn.functional.dropout2d, (), {}),
    (torch.nn.functional.alpha_dropout, (), {}),
    (torch.nn.functional.gumbel_softmax, (), {}),
    (torch.nn.functional.rrelu, (), {}),
    (torch.Tensor.bernoulli_, (), {}),
    (torch.Tensor.add_, (1,), {}),
    (torch.Tensor.index_copy_, (), {}),
    (torch.relu_, (), {}),
    (torch.nn.functional.relu, (), {"inplace": True}),
    (torch.add, (1,), {"out": None}),
]


@pytest.mark.parametrize(("target", "args", "kwargs"), REFUSED, ids=lambda x: getattr(x, "__name__", ""))
def test_the_verifier_refuses(target: object, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    with pytest.raises(AssertionError):
        verify(graph_with(target, *args, **kwargs))


def test_the_verifier_refuses_operators_in_place() -> None:
    import operator

    for target, args in ((operator.iadd, (1,)), (operator.imul, (2,)), (operator.setitem, (0, 1))):
        with pytest.raises(AssertionError, match="in place"):
            verify(graph_with(target, *args))


def test_the_verifier_refuses_methods_modules_and_unnamed_inputs() -> None:
    with pytest.raises(AssertionError, match="call_method"):
        verify(graph_with("exp", op="call_method"))
    module = graph_with(torch.exp)
    verify(module)
    next(iter(module.graph.nodes)).meta.clear()
    with pytest.raises(AssertionError, match="does not say"):
        verify(module)
    graph = fx.Graph()
    graph.output(graph.call_module("layer", ()))
    with pytest.raises(AssertionError):
        verify(fx.GraphModule(torch.nn.ModuleDict({"layer": torch.nn.Linear(1, 1)}), graph))


def test_run_passes_verifies_after_each() -> None:
    """A pass that breaks a graph is found at once."""
    from torch.fx.passes.infra.pass_base import PassResult

    def careless(module: fx.GraphModule) -> PassResult:
        output = next(n for n in module.graph.nodes if n.op == "output")
        with module.graph.inserting_before(output):
            output.args = (module.graph.call_function(torch.rand, (3,)),)
        return PassResult(module, True)

    with pytest.raises(AssertionError, match="hidden random state"):
        run_passes(repeated(Emitter()), (*DEFAULT, careless))


def test_methods_become_functions() -> None:
    g = Emitter()
    a = g.input("a", fixed=False)
    module = g.module({"x": a.T.sum(0), "y": (a + 1).flatten()}, "Test")
    verify(module)
    assert all(n.op in ("placeholder", "call_function", "output") for n in module.graph.nodes)


def test_equal_constants_are_kept_once() -> None:
    g = Emitter()
    a = g.input("a", fixed=False)
    index = torch.tensor([1, 0])
    x, y = torch.index_select(a, 0, g.constant(index)), torch.index_select(a, 1, g.constant(index.clone()))
    module = g.module({"x": x, "y": y}, "Test")
    assert len(dict(module.named_buffers())) == 1
