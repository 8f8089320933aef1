"""Which sites sum out in closed form and which are enumerated."""

from __future__ import annotations

import math

import pytest

from gmc.compiler.colouring import certify
from gmc.compiler.driver import Compiled
from gmc.compiler.marginal import Marginal
from gmc.compiler.region import Region
from gmc.runtime import exact
from tests.compiler.replay import PATTERNS, case, compile_example
from tests.oracle.models import Example


def compiled(body: str) -> Compiled:
    return compile_example(Example("marginal", body, ("",)))


def marginal(c: Compiled, *clamped: str) -> Marginal:
    return c.marginal({n: Region.whole_of(c.checked.model.variable(n)) for n in clamped})


def names(regions: tuple[Region, ...]) -> list[str]:
    return [str(r) for r in regions]


@pytest.mark.parametrize(("name", "items"), PATTERNS)
def test_every_free_site_is_summed_out_or_listed(name: str, items: str) -> None:
    given = case(name, items)
    found = given.compiled.marginal(dict(given.program.schedule.clamped))
    columns = sorted(c for r in (*found.summed, *found.enumerated) for c in given.columns(r))
    assert columns == list(given.law.free)
    certify(given.compiled.graph, [found.summed])
    assert all(r.variable.family.states is not None for r in found.enumerated)
    assert found.bits == pytest.approx(
        sum(r.sites.size * math.log2(r.variable.family.states or 0) for r in found.enumerated)
    )


@pytest.mark.parametrize(("visible", "hidden", "listed"), [(784, 16, "h"), (10, 500, "v"), (100, 25, "h")])
def test_the_small_side_of_a_restricted_machine_is_listed(visible: int, hidden: int, listed: str) -> None:
    found = marginal(compiled(f"observed v : bernoulli[{visible}]\n latent h : bernoulli[{hidden}]\n edge v -- h\n"))
    assert names(found.enumerated) == [listed]
    assert found.bits == min(visible, hidden)
    exact.check(found)
    assert f"enumerated: {listed} ({min(visible, hidden)}.0 bits)" in str(found)


def test_given_the_data_nothing_is_listed() -> None:
    c = compiled("observed v : bernoulli[784]\n latent h : bernoulli[500]\n edge v -- h\n")
    found = marginal(c, "v")
    assert (names(found.summed), names(found.enumerated), found.bits) == (["h"], [], 0.0)
    with pytest.raises(exact.TooLarge, match="more than 25 bits"):
        exact.check(marginal(c))


def test_a_deep_machine_lists_its_middle() -> None:
    c = compiled(
        "observed v : bernoulli[50]\n latent a : bernoulli[9]\n latent b : bernoulli[30]\n edge v -- a\n edge a -- b\n"
    )
    assert (names(marginal(c).summed), names(marginal(c).enumerated)) == (["v", "b"], ["a"])


def test_normals_are_never_listed() -> None:
    c = compiled("observed x : normal[2]\n latent h : bernoulli[9]\n edge x -- h\n")
    assert names(marginal(c).summed) == ["x"]
    assert names(marginal(c, "x").summed) == ["h"]
    apart = compiled(
        "observed x : normal[2]\n observed v : bernoulli[20]\n latent h : bernoulli[9]\n edge x -- h\n edge v -- h\n"
    )
    assert names(marginal(apart).enumerated) == ["h"]


def test_a_site_that_meets_none_of_the_summed_is_summed_too() -> None:
    """u is joined to nothing: it is summed out beside whatever else is."""
    c = compiled("observed v : bernoulli[9]\n latent h : bernoulli[3]\n latent u : spin[30]\n edge v -- h\n")
    assert names(marginal(c).enumerated) == ["h"]


def test_limits() -> None:
    c = compiled("observed v : categorical(4)[6]\n latent h : bernoulli[40]\n edge v -- h\n")
    found = marginal(c)
    assert found.bits == 12
    exact.check(found, limit=12.0)
    with pytest.raises(exact.TooLarge, match="v"):
        exact.check(found, limit=11.9)
