"""Objectives, stages, what is not supported, and the driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from gmc.dsl.check import load, planned
from gmc.dsl.diagnostic import GmcError
from gmc.dsl.model import Stage
from gmc.dsl.vocabulary import Ramp
from tests.dsl.checking import BEFORE_TRAIN, CHAINS, DATA, MODEL, OBJECTIVE, TRAIN, checked, codes, found
from tests.dsl.words import WORDS, Likelihood, Mixture, Patience, Pseudo, Sgd

CALL = "likelihood(posterior, negative)"


def terms(text: str) -> list[tuple[Ramp, type]]:
    objective = checked(f"param n = 4\n{MODEL}{DATA}{CHAINS}objective o = {text}").objective("o")
    return [(term.weight, type(term.objective)) for term in objective.terms]


def still(value: float) -> Ramp:
    return Ramp(value, value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CALL, [(still(1.0), Likelihood)]),
        (f"{CALL} + mixture(posterior)", [(still(1.0), Likelihood), (still(1.0), Mixture)]),
        (f"2 * {CALL} - mixture(posterior) / n", [(still(2.0), Likelihood), (still(-0.25), Mixture)]),
        (f"(0.0 -> 1.0) * {CALL}", [(Ramp(0.0, 1.0), Likelihood)]),
        (f"0.5 * (cosine(0, n) * {CALL})", [(Ramp(0.0, 2.0, "cosine"), Likelihood)]),
        (f"-({CALL} + {CALL}) * (n - 1)", [(still(-3.0), Likelihood)] * 2),
        (f"{CALL} * (n + 2 * n) / 2", [(still(6.0), Likelihood)]),
    ],
)
def test_sums(text: str, expected: list[tuple[Ramp, type]]) -> None:
    assert terms(text) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2", "GM501"),
        ("1 -> 2", None),
        ("(1 -> 2)", "GM501"),
        (f"{CALL} + 1", "GM501"),
        (f"1 - {CALL}", "GM501"),
        (f"{CALL} * {CALL}", "GM502"),
        (f"1 / {CALL}", "GM502"),
        (f"{CALL} / 0", "GM302"),
        (f"{CALL} / (1 - 1)", "GM302"),
        (f"{CALL} * (0 -> 1) * (0 -> 1)", "GM308"),
        (f"(1 + (0 -> 1)) * {CALL}", "GM308"),
        (f"{CALL} * 1e30 * 1e30", "GM303"),
        (f"2 * nll + {CALL}", "GM503"),
        ("o", "GM503"),
        ("posterior", "GM204"),
        ("nothing(3)", "GM205"),
        ('"text"', "GM207"),
        ("vimco(posterior)", "GM902"),
        ("likelihood(posterior, posterior)", "GM504"),
    ],
)
def test_no_objective(text: str, code: str | None) -> None:
    if code is None:
        with pytest.raises(AssertionError):  # the grammar asks for parentheses
            codes(f"{MODEL}{DATA}{CHAINS}{OBJECTIVE}objective o = {text}")
    else:
        assert codes(f"{MODEL}{DATA}{CHAINS}{OBJECTIVE}objective o = {text}") == [code]


def test_problems_are_shown_on_the_argument() -> None:
    (diagnostic,) = found(
        MODEL + DATA + CHAINS + "objective o = likelihood(negative = posterior, positive = posterior)"
    )
    assert diagnostic.span is not None
    assert diagnostic.span.start == diagnostic.span.source.text.index("posterior, positive")
    assert diagnostic.help == "let it be free"


def test_problems_wait_for_right_chains() -> None:
    text = MODEL + DATA + "chain a { clamp w }\nchain b { clamp a }\nobjective o = likelihood(a, b)"
    assert codes(text) == ["GM203", "GM204"]


VALID = DATA.replace("}", " valid v = image | threshold(0.5) }")
"""Data with something for `watch` to look at."""
WITH_VALID = BEFORE_TRAIN.replace(DATA, VALID)


def stage(items: str) -> Stage:
    return checked(f"{WITH_VALID}train {{ {items} }}").stages[0]


def test_stage() -> None:
    s = stage(
        "watch pseudo, pseudo(posterior) every 3  epochs 2  batch 10  minimize nll using sgd(0.1 -> 0, 0.5) times 2"
    )
    assert (s.name, s.batch, s.epochs, s.every) == ("train", 10, 2, 3)
    assert s.watch == (Pseudo(), Pseudo(under="posterior"))
    (line,) = s.minimize
    assert (line.objective, line.of, line.times) == ("nll", (), 2)
    assert line.optimizer == Sgd(lr=Ramp(0.1, 0.0), momentum=Ramp.of(0.5))


def test_stop() -> None:
    s = stage("minimize nll using sgd(1)  batch 1  epochs 1  stop patience(3)  watch pseudo")
    assert s.stop == Patience(looks=3)
    assert stage("minimize nll using sgd(1)  batch 1  epochs 1  watch pseudo").stop is None
    text = f"{BEFORE_TRAIN}train {{ minimize nll using sgd(1)  batch 1  epochs 1  watch pseudo  stop patience(3) }}"
    assert codes(text) == ["GM518"]


def test_of() -> None:
    s = stage("minimize nll of v, v_h using sgd(1)  minimize nll using adam  batch 1  epochs 1")
    assert [line.of for line in s.minimize] == [("v", "v_h"), ()]
    warning, *more = found(BEFORE_TRAIN + "train { minimize nll of v, v_h using sgd(1)  batch 1  epochs 1 }")
    assert (warning.code, more) == ("GM516", [])
    assert warning.span is not None
    assert "h : bernoulli[16]" in warning.span.text


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("", ["GM510"] * 3),
        ("minimize nll using sgd(1)", ["GM510"] * 2),
        ("minimize nil using sgd(1)  batch 1  epochs 1", ["GM203"]),
        ("minimize posterior using sgd(1)  batch 1  epochs 1", ["GM204"]),
        ("minimize nll using sdg(1)  batch 1  epochs 1", ["GM205"]),
        ("minimize nll using sgd  batch 1  epochs 1", ["GM313"]),
        ("minimize nll of w using sgd(1)  batch 1  epochs 1", ["GM203"]),
        ("minimize nll of posterior using sgd(1)  batch 1  epochs 1", ["GM204"]),
        ("minimize nll of v, v using sgd(1)  batch 1  epochs 1", ["GM218"]),
        ("minimize nll of v using sgd(1)  minimize nll of v using sgd(1)  batch 1  epochs 1", ["GM511"]),
        ("minimize nll using sgd(1)  minimize nll using sgd(1)  batch 1  epochs 1", ["GM512"]),
        ("minimize nll using sgd(1) times 0  batch 1  epochs 1", ["GM305"]),
        ("minimize nll using sgd(1)  batch 0  epochs 1.5", ["GM305", "GM304"]),
        ("minimize nll using sgd(1)  batch 1  batch 2  epochs 1  epochs 1", ["GM216", "GM216"]),
        ("minimize nll using sgd(1)  batch 1  epochs 1  watch pseudo  watch pseudo", ["GM216"]),
        ("minimize nll using sgd(1)  batch 1  epochs 1  watch psuedo every 0", ["GM205", "GM305"]),
        ("minimize nll using sgd(1)  batch 1  epochs 1  stop patience(3)", ["GM518"]),
        ("minimize nll using sgd(1)  batch 1  epochs 1  watch pseudo  stop patience(0)", ["GM314"]),
        ("minimize nll using sgd(1)  batch 1  epochs 1  watch pseudo  stop paitence(3)", ["GM205"]),
        ("minimize nll using sgd(1)  batch 1  epochs 1  watch pseudo  stop patience", ["GM313"]),
        ("minimize nll using sgd(1)  batch 1  epochs 1  watch pseudo  stop patience(1)  stop patience(2)", ["GM216"]),
    ],
)
def test_wrong_stages(items: str, expected: list[str]) -> None:
    assert codes(f"{WITH_VALID}train {{ {items} }}") == expected


def test_stage_names() -> None:
    assert codes(BEFORE_TRAIN + TRAIN + TRAIN) == ["GM217"]
    named = TRAIN.replace("train", "train a") + TRAIN.replace("train", "train b")
    assert [s.name for s in checked(BEFORE_TRAIN + named).stages] == ["a", "b"]


@pytest.mark.parametrize(
    ("model", "of"),
    [
        (MODEL.replace("bernoulli[16]", "bernoulli(bias = none)[16]"), "h"),
        (MODEL.replace("bernoulli[16]", "bernoulli(bias = 0.5)[16]"), "h"),
        (MODEL.replace("edge v -- h", "edge v -- h  edge again : v -- h by tied(v_h)"), "again"),
    ],
)
def test_nothing_to_train(model: str, of: str) -> None:
    text = model + DATA + CHAINS + OBJECTIVE
    assert codes(
        text + f"train {{ minimize nll of {of} using sgd(1)  minimize nll using sgd(1)  batch 1  epochs 1 }}"
    ) == ["GM513"]
    rest = ", ".join({"v", "h", "v_h"} - {of})
    assert not codes(text + f"train {{ minimize nll of {rest} using sgd(1)  batch 1  epochs 1 }}")


def test_training_needs_data() -> None:
    assert codes(MODEL + CHAINS + OBJECTIVE + TRAIN) == ["GM514"]
    assert codes(MODEL + "data digits { test v = image }\n" + CHAINS + OBJECTIVE + TRAIN) == ["GM515"]
    wrong = MODEL + "data digits { v = image | nothing }\n" + CHAINS + OBJECTIVE + TRAIN
    assert codes(wrong) == ["GM205"]


def test_chains_that_a_chain_needs_are_fed_too() -> None:
    model = MODEL.replace("edge", "observed y : categorical(10)\nedge v -- y\nedge")
    chains = "chain first { clamp v, y }\nchain posterior { clamp v  clamp y = 3  start first }\nchain negative { }\n"
    (diagnostic,) = found(model + DATA + chains + OBJECTIVE + TRAIN)
    assert diagnostic.code == "GM515"
    assert "`y` is clamped in `first`" in diagnostic.message
    assert not codes(model + DATA.replace("}", "y = label }") + chains + OBJECTIVE + TRAIN)
    # a chain that only a metric runs
    watched = TRAIN.replace("}", "watch pseudo(first) }")
    loose = chains.replace("  start first", "")
    assert codes(model + VALID + loose + OBJECTIVE + watched) == ["GM515"]
    # and one that no stage uses
    assert not codes(model + DATA + loose + OBJECTIVE + TRAIN)


@pytest.mark.parametrize(
    "text",
    [
        "net encoder = linear(200) | elu",
        "net D(x, z) = concat(x, z) | linear(1)",
        'test "small" with (hidden = 3) { assert pseudo < 3 within 1 }',
    ],
)
def test_statements_not_supported_yet(text: str) -> None:
    (diagnostic,) = found(MODEL + text)
    assert diagnostic.code == "GM901"
    assert diagnostic.span is not None
    assert diagnostic.span.text == text


def test_planned_words_that_are_registered_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(planned.WORDS, "family", frozenset({"bernoulli", "later"}))
    assert codes("model m { observed x : later(3) }") == ["GM902"]
    assert codes("model m { observed x : bernoulli }") == []


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "rbm.gm"
    path.write_text(BEFORE_TRAIN + TRAIN + "chain idle { clamp v, h }")
    loaded = load(path, vocabulary=WORDS)
    assert [w.code for w in loaded.warnings] == ["GM418"]
    assert loaded.checked.source.path == str(path)
    assert [c.name for c in loaded.checked.chains] == ["posterior", "negative", "idle"]


@pytest.mark.parametrize(
    ("text", "overrides", "exit_code", "expected"),
    [
        ("param n = 3 in [1 .. 5]\n" + MODEL, {"n": "x"}, 2, ["GM210"]),
        ("param n = 3\n" + MODEL, {"m": "3"}, 2, ["GM209"]),
        ("param n = 1 / 0\n" + MODEL, {"m": "3"}, 1, ["GM209", "GM302"]),
        ("param n = \n" + MODEL, {"m": "3"}, 1, ["GM101"]),
        ("param n = w\n" + MODEL, {}, 1, ["GM203"]),
    ],
)
def test_load_says_all_that_is_wrong(
    tmp_path: Path, text: str, overrides: dict[str, str], exit_code: int, expected: list[str]
) -> None:
    path = tmp_path / "m.gm"
    path.write_text(text)
    with pytest.raises(GmcError) as raised:
        load(path, overrides, None, WORDS)
    assert [diagnostic.code for diagnostic in raised.value.diagnostics] == expected
    assert raised.value.exit_code == exit_code


def test_mistakes_of_every_stage_in_one_run() -> None:
    text = (Path(__file__).parent.parent / "bad" / "many_mistakes.gm").read_text()
    said = codes(text)
    assert len(said) >= 15
    assert {code[:3] for code in said} == {"GM2", "GM3", "GM4", "GM9"}
