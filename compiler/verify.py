"""What holds of every graph: only calls of pure functions, and no randomness but keyed draws."""

from __future__ import annotations

from torch import fx

from gmc.compiler.draws import DRAWS

RANDOM = {
    "alpha_dropout", "bernoulli", "binomial", "cauchy", "dropout", "dropout1d", "dropout2d", "dropout3d", "exponential",
    "feature_alpha_dropout", "feature_dropout", "geometric", "gumbel_softmax", "log_normal", "multinomial", "native_dropout", "normal",
    "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random", "randperm", "rrelu",
}  # fmt: skip
"""Names of torch functions that draw from a hidden state."""
OPERATORS = {
    "delitem", "iadd", "iand", "iconcat", "ifloordiv", "ilshift", "imatmul", "imod", "imul", "ior", "ipow", "irshift", "isub", "itruediv",
    "ixor", "setitem",
}  # fmt: skip
"""Names of Python's operators that work in place."""


def verify(module: fx.GraphModule) -> None:
    """Checks a graph.

    Raises:
        AssertionError: it holds a method or module call, a hidden random state, an operation in place, or an ill-formed node.
    """
    module.graph.lint()
    for node in module.graph.nodes:
        assert node.op in ("placeholder", "get_attr", "call_function", "output"), f"{node} is a {node.op}"
        if node.op == "placeholder":
            assert "input" in node.meta and "fixed" in node.meta, f"{node} does not say what it takes"
        if node.op != "call_function" or node.target in DRAWS:
            continue
        name = getattr(node.target, "__name__", str(node.target))
        assert name.rstrip("_") not in RANDOM, f"{node} draws from a hidden random state"
        dunder = name.endswith("__")
        assert dunder or not (name.endswith("_") or name in OPERATORS), f"{node} works in place"
        assert not node.kwargs.get("inplace") and "out" not in node.kwargs, f"{node} works in place"
