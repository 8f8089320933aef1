"""The commands about texts: check, fmt, explain, new, info."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gmc.commands.explain import every
from gmc.commands.new import model_name
from gmc.dsl.printer import format_source
from gmc.runtime.words import VOCABULARY
from tests.cli.invoking import TINY, codes, invoke

BAD = "model m {\n  observed v : bernouli[2]\n}\n"
UNTIDY = "model   m { observed v:bernoulli[2]\nlatent h : bernoulli }\n"


# ── check ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_check_of_a_right_file(here: Path) -> None:
    result = invoke("check", "tiny.gm")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "1 file: no errors\n")
    told = invoke("check", "tiny.gm", "--format", "json")
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", "")


def test_check_goes_on_after_a_wrong_file(here: Path) -> None:
    (here / "a.gm").write_text(BAD)
    (here / "b.gm").write_text(BAD)
    result = invoke("check", "a.gm", "b.gm", "tiny.gm")
    assert result.exit_code == 1
    assert not result.stdout
    assert "--> a.gm:2:16" in result.stderr
    assert "--> b.gm:2:16" in result.stderr
    assert result.stderr.endswith("\n3 files: 2 errors\n")


def test_warnings_do_not_count(here: Path) -> None:
    (here / "idle.gm").write_text(TINY + "chain idle { clamp v, h }\n")
    result = invoke("check", "idle.gm", "--format", "json")
    assert result.exit_code == 0
    assert codes(result) == ["GM418"]
    assert "no errors, 1 warning" in invoke("check", "idle.gm").stderr


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["missing.gm"], 2, "GM120"),
        (["."], 2, "GM121"),
        (["a\0.gm"], 1, "GM122"),
        (["tiny.gm", "--set", "hiden=3"], 2, "GM209"),
        (["tiny.gm", "--set", "hidden=three"], 2, "GM210"),
        (["tiny.gm", "--set", "hidden=9"], 2, "GM306"),
        (["tiny.gm", "--data", "x.npz"], 2, "GM604"),
    ],
)
def test_check_of_what_is_not_there(here: Path, words: list[str], exit_code: int, code: str) -> None:
    result = invoke("check", *words, "--format", "json")
    assert result.exit_code == exit_code
    assert codes(result) == [code]


def test_model_and_command_line_wrong_is_one(here: Path) -> None:
    (here / "bad.gm").write_text(BAD)
    assert invoke("check", "bad.gm", "missing.gm").exit_code == 1
    assert invoke("check", "bad.gm", "--set", "x=1").exit_code == 1


def test_near_param_is_named(here: Path) -> None:
    assert "did you mean `hidden`?" in invoke("check", "tiny.gm", "--set", "hiden=3").stderr


# ── fmt ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_fmt_in_place(here: Path) -> None:
    file = here / "a.gm"
    file.write_text(UNTIDY)
    file.chmod(0o640)
    (here / "link.gm").symlink_to("a.gm")
    result = invoke("fmt", "link.gm", "tiny.gm")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "formatted link.gm\n")
    assert file.read_text() == format_source(UNTIDY)
    assert file.stat().st_mode & 0o777 == 0o640
    assert (here / "link.gm").is_symlink()
    assert sorted(path.name for path in here.iterdir()) == ["a.gm", "link.gm", "tiny.gm"]


def test_fmt_leaves_what_is_right_alone(here: Path) -> None:
    before = (here / "tiny.gm").stat().st_mtime_ns
    assert invoke("fmt", "tiny.gm").exit_code == 0
    assert (here / "tiny.gm").stat().st_mtime_ns == before


def test_fmt_check_and_diff_write_nothing(here: Path) -> None:
    (here / "a.gm").write_text(UNTIDY)
    result = invoke("fmt", "--check", "a.gm", "tiny.gm")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "would format a.gm\n")
    result = invoke("fmt", "--diff", "a.gm", "tiny.gm")
    assert result.exit_code == 1
    assert result.stdout.startswith("--- a.gm\n+++ a.gm\n@@")
    assert "-model   m { observed v:bernoulli[2]\n" in result.stdout
    assert (here / "a.gm").read_text() == UNTIDY
    assert invoke("fmt", "--check", "tiny.gm").exit_code == 0
    assert invoke("fmt", "--diff", "tiny.gm").stdout == ""


def test_fmt_of_stdin(here: Path) -> None:
    result = invoke("fmt", "-", input=UNTIDY)
    assert (result.exit_code, result.stdout, result.stderr) == (0, format_source(UNTIDY), "")
    assert invoke("fmt", "--check", "-", input=UNTIDY).exit_code == 1
    assert "--- <stdin>" in invoke("fmt", "--diff", "-", input=UNTIDY).stdout
    wrong = invoke("fmt", "-", "--format", "json", input="model {")
    assert wrong.exit_code == 1
    assert not wrong.stdout
    assert codes(wrong)


def test_fmt_removes_byte_order_mark_and_other_line_ends(here: Path) -> None:
    file = here / "a.gm"
    tidy = format_source(UNTIDY).encode()
    for other in (b"\xef\xbb\xbf" + tidy, tidy.replace(b"\n", b"\r\n")):
        file.write_bytes(other)
        assert invoke("fmt", "--check", "a.gm").exit_code == 1
        assert invoke("fmt", "--diff", "a.gm").stdout
        assert invoke("fmt", "a.gm").exit_code == 0
        assert file.read_bytes() == tidy


def test_fmt_of_a_wrong_file_leaves_it_and_goes_on(here: Path) -> None:
    (here / "a.gm").write_text("model {")
    (here / "b.gm").write_text(UNTIDY)
    result = invoke("fmt", "a.gm", "missing.gm", "b.gm")
    assert result.exit_code == 1
    assert (here / "a.gm").read_text() == "model {"
    assert (here / "b.gm").read_text() == format_source(UNTIDY)
    assert invoke("fmt", "missing.gm").exit_code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_fmt_where_nothing_may_be_written(here: Path) -> None:
    (here / "a.gm").write_text(UNTIDY)
    here.chmod(0o500)
    try:
        result = invoke("fmt", "a.gm", "--format", "json")
    finally:
        here.chmod(0o700)
    assert result.exit_code == 1
    assert codes(result) == ["GM700"]


# ── explain ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_explain() -> None:
    result = invoke("explain", "gm417")
    assert result.exit_code == 0
    assert result.stdout.startswith("# GM417: ")
    assert not result.stderr


def test_explain_lists_all() -> None:
    lines = invoke("explain").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(every())
    assert {"GM101", "GM650", "GM720", "GM801", "GM810", "GM899"} <= set(every())


@pytest.mark.parametrize("code", [code for code in every() if code.startswith(("GM81", "GM89"))])
def test_page_of_each_code_of_the_command_line(code: str) -> None:
    page = invoke("explain", code).stdout
    assert page.startswith(f"# {code}: {every()[code].title}\n\n")
    assert len(page.splitlines()) > 2


def test_explain_of_no_code() -> None:
    result = invoke("explain", "GM4177")
    assert result.exit_code == 2
    assert "did you mean `GM417`?" in result.stderr
    assert codes(invoke("explain", "nothing", "--format", "json")) == ["GM812"]


# ── new ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_new_is_right_and_in_the_one_style(here: Path) -> None:
    result = invoke("new", "first")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "gmc compile first.gm --train" in result.stderr
    text = (here / "first.gm").read_text()
    assert "model first {" in text
    assert "compile first.gm --set" in text
    told = invoke("check", "first.gm", "--format", "json")
    assert (told.exit_code, told.stderr) == (0, "")
    assert format_source(text) == text


@pytest.mark.parametrize("name", ["tiny", "tiny.gm"])
def test_new_never_overwrites(here: Path, name: str) -> None:
    result = invoke("new", name, "--format", "json")
    assert result.exit_code == 2
    assert codes(result) == ["GM811"]
    assert (here / "tiny.gm").read_text() == TINY


@pytest.mark.parametrize("name", ["v", "nll", "train", "bernoulli", "my-model", "3d", "model", "größe"])
def test_new_with_a_name_that_no_model_can_have(here: Path, name: str) -> None:
    assert model_name(name) == "rbm"
    assert invoke("new", name).exit_code == 0
    assert invoke("check", f"{name}.gm").exit_code == 0


def test_new_in_a_folder_that_is_not_there(here: Path) -> None:
    result = invoke("new", "no/where", "--format", "json")
    assert result.exit_code == 1
    assert codes(result) == ["GM700"]


# ── info ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_info_lists_versions_and_every_word() -> None:
    result = invoke("info")
    assert result.exit_code == 0
    for part in ("gmc ", "python ", "torch ", "threads ", "devices   cpu"):
        assert part in result.stdout
    listed = {line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")}
    assert {word.word for word in VOCABULARY.words()} <= listed


@pytest.mark.parametrize("name", sorted({word.word for word in VOCABULARY.words()}))
def test_info_of_each_word(name: str) -> None:
    text = invoke("info", name).stdout
    for word in VOCABULARY.words():
        if word.word == name:
            assert (word.__doc__ or "").strip().splitlines()[0] in text
            assert all(f"    {info.alias or field}" in text for field, info in word.model_fields.items())


def test_info_tells_arguments_with_bounds_and_defaults() -> None:
    text = invoke("info", "adam").stdout
    head, _, rest = text.partition("\n")
    assert head.startswith("adam(lr, betas = (0.9, 0.999), eps = 1e-08, weight_decay = 0, max_norm = none, ")
    assert head.endswith(")    optimizer") and rest
    assert "lr            a number or `a -> b`, at least 0, required" in text
    assert "eps           a number, greater than 0, 1e-08 unless given" in text


def test_info_of_a_word_of_two_kinds() -> None:
    text = invoke("info", "spin").stdout
    assert "    type\n" in text
    assert "    transform\n" in text


def test_info_of_an_unknown_word() -> None:
    result = invoke("info", "bernouli")
    assert result.exit_code == 2
    assert not result.stdout
    assert "did you mean `bernoulli`?" in result.stderr


def test_info_of_a_file(here: Path) -> None:
    result = invoke("info", "tiny.gm", "--set", "hidden=5")
    assert result.exit_code == 0
    for part in (
        "A tiny machine on digits.",
        "hidden  = 5  in [1 .. 8]",
        "v  observed  bernoulli[8, 8]  64 sites",
        "v_h  v -- h  by dense",
        "data from digits(held_out = 100)",
        "chain inpaint of tiny: 2 sweeps",
        "likelihood(positive = posterior, negative = negative)",
        "batch 600, epochs 2",
    ):
        assert part in result.stdout
    assert invoke("info", "missing.gm").exit_code == 2
    assert invoke("info", "./missing").exit_code == 2


def test_info_of_a_file_with_everything_documented(here: Path) -> None:
    text = TINY.replace("param hidden", '"""Units."""\nparam hidden').replace(
        "  observed v", '  """Pixels."""\n  observed v'
    )
    text = text.replace("chain dreaming", '"""It dreams."""\nchain dreaming').replace(
        "objective nll", '"""What falls."""\nobjective nll'
    )
    (here / "told.gm").write_text(text)
    shown = invoke("info", "told.gm").stdout
    for part in ("# Units.", "# Pixels.", "  It dreams.", "# What falls."):
        assert part in shown
