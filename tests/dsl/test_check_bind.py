"""Names of the file, and calls of registered words."""

from __future__ import annotations

import pytest

from gmc.dsl.check import edge_name
from gmc.dsl.check.arguments import arguments
from gmc.dsl.lexer import reserved_words
from gmc.dsl.vocabulary import VOCABULARY, Ramp, Vocabulary
from tests.dsl.checking import BEFORE_TRAIN, CHAINS, DATA, MODEL, checked, codes, found
from tests.dsl.words import WORDS, Adam, Categorical, Conv, Exact, Likelihood, Mask, Mixture, Normal, Scale

RESERVED = set(reserved_words())


def family(text: str) -> object:
    return checked(f"param n = 4\nmodel m {{ observed v : {text}[3] }}").model.variables[0].family


def test_arguments_by_position_and_name() -> None:
    assert family("categorical(3)") == Categorical(k=3)
    assert family("categorical(k = n, bias = channel)") == Categorical(k=4, bias="channel")
    assert family("categorical(n / 2, none)") == Categorical(k=2, bias="none")
    assert family("normal(bias = 0)") == Normal(bias=0.0)
    assert family("normal(2)") == Normal(precision=2.0)


def test_tuples_flags_aliases_and_columns() -> None:
    text = "model m { observed v : bernoulli[4, 4]  edge v -- v by conv((3, 5), periodic = true) }"
    assert checked(text).model.edges[0].factor == Conv(kernel=(3, 5), periodic=True)
    text = MODEL + 'data digits { v = "some column" | mask(v) | mask("other one") | scale(amount = 2) }'
    data = checked(text).data
    assert data is not None
    assert data.bindings[0].column == "some column"
    words = [step.transform for step in data.bindings[0].steps]
    assert words == [Mask(column="v"), Mask(column="other one"), Scale(amount=2.0)]


def test_nested_words_and_references() -> None:
    text = MODEL + DATA + CHAINS + "objective o = likelihood(exact(posterior), negative)"
    word = checked(text).objectives[0].terms[0].objective
    assert word == Likelihood(positive=Exact(under="posterior"), negative="negative")
    assert word.chains() == ("posterior", "negative")
    text = MODEL + DATA + CHAINS + "objective o = mixture(posterior, negative, norm = l2)"
    assert checked(text).objectives[0].terms[0].objective == Mixture(over=("posterior", "negative"), norm="l2")
    one = MODEL + DATA + CHAINS + "objective o = mixture(over = (posterior, negative))"
    assert checked(one).objectives[0].terms[0].objective == Mixture(over=("posterior", "negative"))


@pytest.mark.parametrize(
    ("call", "code", "place"),
    [
        ("likelihood(exact(nothing), negative)", "GM203", "nothing"),
        ("likelihood(exakt(posterior), negative)", "GM205", "exakt"),
        ("likelihood(exact, negative)", "GM313", "exact"),
        ("likelihood(exact(exact(posterior)), negative)", "GM316", "exact(posterior)"),
        ("likelihood(v, negative)", "GM204", "v"),
        ("likelihood(0.5, negative)", "GM316", "0.5"),
        ("likelihood((posterior, negative), negative)", "GM314", "(posterior, negative)"),
        ("mixture(posterior, nothing)", "GM203", "nothing"),
        ("mixture(norm = l1)", "GM313", "mixture(norm = l1)"),
        ("mixture(posterior, norm = l3)", "GM317", "l3"),
        ("mixture(posterior, over = negative)", "GM312", "over = negative"),
        ("likelihood(posterior, negative, scale = 0)", "GM314", "0"),
        ("likelihood(posterior, negative, scale = 1 -> 0)", "GM314", "1 -> 0"),
        ("likelihood(posterior, negative, 1, 2)", "GM311", "2"),
        ("likelihood(posterior, negative, skale = 1)", "GM310", "skale"),
    ],
)
def test_wrong_calls(call: str, code: str, place: str) -> None:
    (diagnostic,) = found(f"{MODEL}{DATA}{CHAINS}objective o = {call}")
    assert diagnostic.code == code
    assert diagnostic.span is not None
    assert diagnostic.span.text == place


def test_several_wrong_arguments_are_all_reported() -> None:
    text = BEFORE_TRAIN + "train { minimize nll using adam(lr = -1, betas = (2, -1))  batch 1  epochs 1 }"
    diagnostics = found(text)
    assert [diagnostic.code for diagnostic in diagnostics] == ["GM314"] * 3
    assert [diagnostic.span and diagnostic.span.text for diagnostic in diagnostics] == ["-1", "2", "-1"]


def test_arguments_wrong_together() -> None:
    text = BEFORE_TRAIN + "train { minimize nll using adam(betas = (0.9, 0.5))  batch 1  epochs 1 }"
    (diagnostic,) = found(text)
    assert diagnostic.code == "GM315"
    assert "the first beta is larger" in diagnostic.message
    assert diagnostic.span is not None
    assert diagnostic.span.text == "adam(betas = (0.9, 0.5))"
    assert Adam(betas=(0.5, 0.9)).lr == Ramp(1e-3, 1e-3)


def test_a_union_says_all_that_would_do() -> None:
    (diagnostic,) = found("model m { observed v : bernoulli[4, 4]  edge v -- v by conv(2.5) }")
    assert diagnostic.code == "GM314"
    assert diagnostic.message == "`kernel` of `conv` must be an integer or must be a tuple such as (1, 2)"


def test_unknown_word_has_a_nearest_one() -> None:
    (diagnostic,) = found("model m { observed v : bernuli[4] }")
    assert diagnostic.help == "did you mean `bernoulli`?"


def test_made_names() -> None:
    assert edge_name(["a", "b", "a"]) == "a_b_a"
    edges = checked("model m { observed a : bernoulli  latent b : bernoulli  edge a -- b  edge a -- a }").model.edges
    assert [edge.name for edge in edges] == ["a_b", "a_a"]


def test_clash_with_a_made_name() -> None:
    (clash,) = found("model m { observed a : bernoulli  latent b : bernoulli  edge a -- b  edge a_b : a -- a }")
    assert clash.code == "GM201"
    assert clash.help == "name the edge: `edge NAME : ...`"
    assert clash.related[0].span.text == "a -- b"


def test_a_clash_is_not_followed_by_others() -> None:
    assert codes("param h = 3\n" + MODEL + "chain c { clamp h  start v from noise }") == ["GM201"]


def test_stage_and_model_names_are_apart() -> None:
    text = BEFORE_TRAIN.replace("model m", "model v") + "train h { minimize nll using sgd(1)  batch 1  epochs 1 }"
    assert checked(text).stages[0].name == "h"


@pytest.mark.parametrize("name", ["noise", "bernoulli", "sgd", "exact", "cosine", "true", "mean"])
def test_no_name_hides_a_word(name: str) -> None:
    assert codes(f"param {name} = 3\n{MODEL}") == ["GM202"]


@pytest.mark.parametrize("vocabulary", [WORDS, VOCABULARY])
def test_no_registered_name_or_argument_is_reserved(vocabulary: Vocabulary) -> None:
    import gmc.runtime.words  # noqa: F401  fills the vocabulary

    assert vocabulary.words()
    # `start data` is the grammar's own
    assert not {word.word for word in vocabulary.words() if (word.kind, word.word) != ("start", "data")} & RESERVED
    for word in vocabulary.words():
        assert not {argument.name for argument in arguments(word)} & RESERVED, word.word


def test_every_registered_word_can_be_called() -> None:
    """What a field takes is read off its annotation; one that takes nothing could not be given."""
    import gmc.runtime.words  # noqa: F401

    for word in VOCABULARY.words():
        for argument in arguments(word):
            assert argument.sorts, f"{word.kind} {word.word}: nothing can be given for {argument.name}"


def test_help_with_a_missing_argument_can_be_written() -> None:
    (missing,) = found(f"{MODEL}{DATA}{CHAINS}objective o = likelihood(exact, negative)")
    assert missing.help == "write `exact(under = ...)`"
    (missing,) = found(f"{MODEL}{DATA}{CHAINS}objective o = likelihood(posterior)")
    assert missing.help == "write `likelihood(negative = ...)`"
