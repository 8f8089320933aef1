"""`gmc eval --probe` from the command line."""

from __future__ import annotations

import json

import pytest

from gmc.runtime.run import open_run
from tests.cli.invoking import Trained, codes, invoke


def test_text(trained: Trained) -> None:
    result = invoke("eval", str(trained.folder), "--probe", "label")
    assert (result.exit_code, result.stderr) == (0, "")
    first, head, *scores, features, seed = result.stdout.splitlines()
    assert first == (
        "label, 10 classes, by logistic regression: 100 rows of the test split, learned from 1697 training rows"
    )
    assert head == "accuracy from"
    assert [line[:22].strip() for line in scores] == ["the features", "v itself", "most frequent class"]
    assert all("(standard error), error " in line for line in scores)
    assert features == "features  means of h where chain posterior ends, 3 numbers a row; frozen"
    assert seed == "seed      0"


def test_json(trained: Trained) -> None:
    words = ["--probe", "label", "--chain", "posterior", "--features", "h", "--model", "mlp", "--seed", "3", "--json"]
    found = json.loads(invoke("eval", str(trained.folder), *words).stdout)
    wanted = open_run(trained.folder).probe("label", model="mlp", seed=3)
    assert found == {"run": str(trained.folder), **json.loads(json.dumps(wanted.json()))}
    assert (found["probe"], found["chain"], found["features"], found["seed"]) == ("label", "posterior", ["h"], 3)
    assert found["accuracy"] + found["error"] == pytest.approx(1.0)
    assert found["majority"]["accuracy"] < found["accuracy"] < found["raw"]["accuracy"], (
        "three hidden units tell little"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--chain", "posterior"], "--chain is about a probe: add --probe LABEL."),
        (["--model", "mlp"], "--model is about a probe"),
        (["--features", "h"], "--features is about a probe"),
        (["--probe", "label", "--method", "exact"], "--probe takes no --method"),
        (["--probe", "label", "--model", "mpl"], "Did you mean 'mlp'?"),
    ],
)
def test_options_that_do_not_go_together(trained: Trained, words: list[str], told: str) -> None:
    result = invoke("eval", str(trained.folder), *words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--probe", "lable"], "GM763"),
        (["--probe", "v"], "GM764"),
        (["--probe", "label", "--chain", "dreaming"], "GM770"),
        (["--probe", "label", "--split", "train"], "GM769"),
        (["--probe", "label", "--split", "valid"], "GM741"),
        (["--probe", "label", "--features", "h,g"], "GM767"),
    ],
)
def test_mistakes(trained: Trained, words: list[str], code: str) -> None:
    result = invoke("eval", str(trained.folder), *words, "--format", "json")
    assert codes(result) == [code]
    assert result.exit_code == 2
    assert not result.stdout
