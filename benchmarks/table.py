"""Writes the tables of `benchmarks/README.md` from the results.

python -m benchmarks.table
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.common import RESULTS, ROOT, number

NAMES = (
    *("rbm_mnist_exact", "bars_and_stripes", "label_rbm", "ising", "potts", "gaussian_rbm", "dbm"),
    *("inpainting", "missing_data", "gate", "rbm_centred", "deep_mnist", "fixed_mnist", "mp_dbm"),
)
README = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- made by python -m benchmarks.table: do not edit -->", "<!-- end -->"


def markdown(names: Sequence[str], cells: Sequence[Sequence[object]]) -> Iterator[str]:
    """A table."""
    yield f"| {' | '.join(names)} |"
    yield f"|{'|'.join('---:' if isinstance(cell, (int, float)) else '---' for cell in cells[0])}|"
    for row in cells:
        yield f"| {' | '.join(number(cell).replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def section(result: Mapping[str, Any]) -> Iterator[str]:
    """All of one result."""
    machine = result["machine"]
    yield f"### {result['title']}"
    yield ""
    yield (
        f"`{result['command']}`, {result['date']}, {result['seconds']:.0f} s on {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['processes']} processes of one thread, torch {machine['torch']}, gmc {machine['gmc']}."
    )
    yield ""
    marks = [[m["what"], m["value"], f"{m['relation']} {number(m['bound'])}", verdict(m)] for m in result["marks"]]
    yield from markdown(["what", "value", "mark", "passed"], marks)
    shapes: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in result["rows"]:
        shapes.setdefault(tuple(row), []).append(row)
    for names, rows in shapes.items():
        yield from markdown([n.replace("|", r"\|") for n in names], [[row[n] for n in names] for row in rows])
    for note in result["notes"]:
        yield f"- {note}"
    for picture in result["pictures"]:
        yield f"- ![{picture}](results/{picture})"
    yield ""


def verdict(mark: Mapping[str, Any]) -> str:
    """Whether a mark was passed."""
    return "yes" if mark["passed"] else "**no**"


def summary(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each benchmark."""
    cells = []
    for result in results:
        passed = sum(mark["passed"] for mark in result["marks"])
        link = f"[{result['name']}](results/{result['name']}.json)"
        cells.append([link, result["title"], f"{passed} of {len(result['marks'])}", round(result["seconds"])])
    yield from markdown(["benchmark", "what", "marks passed", "seconds"], cells)


def main() -> int:
    """Replaces what stands between the two comments; 1 if a mark was missed."""
    paths = [RESULTS / f"{name}.json" for name in NAMES]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
    lines = [BEGIN, "", *summary(results), *(line for result in results for line in section(result)), END]
    text = README.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    README.write_text(head + "\n".join(lines) + tail, encoding="utf-8")
    absent = [path.stem for path in paths if not path.is_file()]
    failed = [f"{r['name']}: {m['what']}" for r in results for m in r["marks"] if not m["passed"]]
    print("\n".join(["not passed:", *failed] if failed else ["all marks passed"]))
    if absent:
        print(f"no results of {', '.join(absent)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
