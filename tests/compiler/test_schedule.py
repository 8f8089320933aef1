"""Schedules: what is clamped, free, read and deferred, and the order of blocks and of pass 0."""

from __future__ import annotations

import pytest

from gmc.compiler.schedule import Schedule
from tests.compiler.replay import PATTERNS, case
from tests.oracle.sites import clamped_sites


def schedule(name: str, items: str = "", more: str = "") -> Schedule:
    return case(name, items, more).program.schedule


def texts(blocks: object) -> list[list[str]]:
    return [[str(r) for r in block] for block in blocks]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "items"), PATTERNS)
def test_every_site_has_one_part(name: str, items: str) -> None:
    """Clamped and free part the sites, active and deferred the free ones; blocks cover the active ones."""
    given = case(name, items)
    s, model = given.program.schedule, given.model
    clamped = {(n, int(i)) for n, r in s.clamped.items() for i in r.sites}
    free = {(n, int(i)) for n, r in s.free.items() for i in r.sites}
    active = {(n, int(i)) for n, r in s.active.items() for i in r.sites}
    deferred = {(r.name, int(i)) for block in s.deferred for r in block for i in r.sites}
    assert clamped == set(clamped_sites(model, s.chain))
    assert clamped | free == set(given.law.sites) and not clamped & free
    assert active | deferred == free and not active & deferred
    blocks = [(r.name, int(i)) for b in s.blocks for r in b for i in r.sites]
    assert sorted(blocks) == sorted(active)
    opening = [(r.name, int(i)) for b in s.opening for r in b for i in r.sites]
    assert sorted(opening) == sorted(active), "no start supplies anything"


@pytest.mark.parametrize(
    ("name", "items", "blocks"),
    [
        ("rbm", "", [["v"], ["h"]]),
        ("rbm", "clamp v[:, 1:]", [["v[0:4:3]"], ["h"]]),
        ("dbm2", "", [["v", "h2"], ["h1"]]),
        ("dbm2", "clamp v", [["h1"], ["h2"]]),
        ("dbm2", "clamp h1", []),
        ("dbm3", "", [["v", "h2"], ["h1", "h3"]]),
        ("label_rbm", "", [["v", "y"], ["h"]]),
        ("label_rbm", "clamp v", [["y"], ["h"]]),
        ("triangle", "", [["a"], ["b"], ["c"]]),
        ("third_order", "clamp x", [["y"], ["h"]]),
    ],
)
def test_blocks(name: str, items: str, blocks: list[list[str]]) -> None:
    assert texts(schedule(name, items).blocks) == blocks


@pytest.mark.parametrize(
    ("name", "items", "deferred"),
    [
        ("rbm", "clamp v", ["h"]),
        ("dbm2", "clamp h1", ["v", "h2"]),
        ("dbm2", "clamp v, h2", ["h1"]),
        ("label_rbm", "clamp h", ["v", "y"]),
        ("sparse", "", ["v[3]", "h[3]"]),
        ("single", "", ["u"]),
        ("boltzmann", "clamp v", []),
    ],
)
def test_what_nothing_reads_is_deferred(name: str, items: str, deferred: list[str]) -> None:
    assert [str(r) for block in schedule(name, items).deferred for r in block] == deferred


@pytest.mark.parametrize(
    ("name", "items", "more", "order"),
    [
        ("dbm3", "", "", ["v", "h1", "h2", "h3"]),
        ("dbm3", "clamp v", "", ["h1", "h2", "h3"]),
        ("dbm3", "clamp h3", "", ["h2", "h1", "v"]),
        ("dbm3", "", "start h2 from noise", ["h1", "h3", "v"]),
        ("dbm2", "clamp v[0:3]", "", ["h1", "v", "h2"]),
        ("rbm", "", "start noise", []),
    ],
)
def test_pass_zero_goes_by_distance(name: str, items: str, more: str, order: list[str]) -> None:
    """From what is clamped or supplied; ties, and what is nowhere near, as declared."""
    assert [r.name for block in schedule(name, items, more).opening for r in block] == order


def test_pass_zero_leaves_out_what_no_sweep_reads() -> None:
    assert [r.name for b in schedule("rbm").begun for r in b] == ["v", "h"]
    assert [r.name for b in schedule("rbm", "clamp v[:, 1:]").begun for r in b] == ["h"]
    assert [r.name for b in schedule("rbm", "", "sweeps 0").pass_0 for r in b] == ["v", "h"]
    assert schedule("rbm").read == {"h"}


def test_written_sweeps_are_kept() -> None:
    assert texts(schedule("rbm", "", "sweep {h} then {v} then {h}").blocks) == [["h"], ["v"], ["h"]]
    assert texts(schedule("boltzmann", "", "sweep {h} then {v}").blocks) == [[f"h[{n}]"] for n in range(3)] + [
        [f"v[{n}]"] for n in range(4)
    ]
