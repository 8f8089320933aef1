"""What the benchmarks share: their command line, seeds in parallel processes, results as data, tables."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from gmc.runtime.run import Run
    from gmc.runtime.training import Progress

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
MODELS = ROOT / "benchmarks" / "models"
RESULTS = ROOT / "benchmarks" / "results"

T = TypeVar("T")
Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says.

    `data`: the folder of data sets; `results`: where the result and the pictures go, None for nowhere; `seeds`: how many, None for the script's own
    number; `quick`: a size that only shows that the script runs; its numbers mean nothing; `full`: the published size, for a GPU, which only some scripts
    have; `device`: where gmc runs.
    """

    name: str
    data: Path
    results: Path | None
    jobs: int
    seeds: int | None
    quick: bool
    full: bool
    device: str

    def count(self, seeds: int) -> range:
        """The seeds to run, where the script wants `seeds` of them."""
        return range(self.seeds if self.seeds is not None else 1 if self.quick else seeds)

    def data_file(self, name: str) -> Path:
        """A data set; without it the process ends, as skipped."""
        path = self.data / name
        if not path.is_file():
            print(f"SKIPPED {self.name}: there is no {name} in {self.data}", flush=True)
            print(f"SKIPPED {self.name}: name its folder with --data or GMC_DATA", flush=True)
            raise SystemExit(0)
        return path


def settings(name: str, description: str | None) -> Settings:
    """Reads the command line of the benchmark `name`."""
    folder = Path(os.environ.get("GMC_DATA") or ROOT.parent / "shared" / "data")
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--data", type=Path, default=folder, help="folder of data sets  [default: $GMC_DATA]")
    parser.add_argument("--results", type=Path, help="folder for the result  [default: benchmarks/results]")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes  [default: 2]")
    parser.add_argument("--seeds", type=int, help="how many seeds, rather than the benchmark's own number")
    parser.add_argument("--quick", action="store_true", help="only show that it runs; writes nothing without --results")
    parser.add_argument(
        "--full", action="store_true", help="the published size, where the benchmark has one; for a GPU"
    )
    parser.add_argument("--device", default="cpu", help="where gmc runs: cpu, cuda  [default: cpu]")
    given = parser.parse_args()
    results = given.results or (None if given.quick else RESULTS)
    jobs = given.jobs if given.device == "cpu" else 1
    return Settings(name, given.data.resolve(), results, jobs, given.seeds, given.quick, given.full, given.device)


@dataclass(frozen=True, slots=True)
class Mark:
    """A number, what it is compared with, and how it came out."""

    what: str
    value: float
    relation: str
    bound: float
    passed: bool


@dataclass(slots=True)
class Report:
    """What a benchmark found: a row of values for each run, and the marks that their means are held to."""

    settings: Settings
    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def add(self, case: str, seed: int, values: Mapping[str, float]) -> None:
        """A run's values."""
        self.rows.append({"case": case, "seed": seed, **values})

    def values(self, case: str, name: str) -> list[float]:
        """One value of all seeds of a case, in the order of the seeds."""
        rows = sorted((r for r in self.rows if r["case"] == case), key=lambda r: r["seed"])
        return [float(r[name]) for r in rows if name in r]

    def mean(self, case: str, name: str) -> float:
        """The mean over the seeds."""
        found = self.values(case, name)
        return sum(found) / len(found)

    def mark(self, what: str, value: float, relation: str, bound: float) -> None:
        """Compares a value with a bound: `relation` is >=, >, <= or <."""
        compare = {">=": value >= bound, ">": value > bound, "<=": value <= bound, "<": value < bound}
        self.marks.append(Mark(what, float(value), relation, float(bound), bool(compare[relation])))

    def picture(self, name: str) -> Path | None:
        """Where a picture goes, if anywhere."""
        if self.settings.results is None:
            return None
        self.settings.results.mkdir(parents=True, exist_ok=True)
        self.pictures.append(name)
        return self.settings.results / name

    def finish(self) -> None:
        """Prints everything, and writes it as JSON."""
        self.rows.sort(key=lambda r: (str(r["case"]), int(r["seed"])))
        result = {
            "name": self.settings.name,
            "title": self.title,
            "command": " ".join(["python -m", f"benchmarks.{self.settings.name}", *sys.argv[1:]]),
            "quick": self.settings.quick,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "seconds": round(time.monotonic() - self.started, 1),
            "machine": machine(self.settings.jobs),
            "rows": self.rows,
            "marks": [asdict(mark) for mark in self.marks],
            "passed": all(mark.passed for mark in self.marks),
            "notes": self.notes,
            "pictures": self.pictures,
        }
        print(f"\n{self.title}\n\n{rows_text(self.rows)}\n{marks_text(self.marks)}")
        for note in self.notes:
            print(f"note: {note}")
        if self.settings.results is not None:
            self.settings.results.mkdir(parents=True, exist_ok=True)
            path = self.settings.results / f"{self.settings.name}.json"
            path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            print(f"wrote {path}")


def machine(jobs: int) -> dict[str, object]:
    """What it ran on."""
    import numpy as np
    import torch

    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "processes": jobs,
        "threads": 1,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "gmc": revision(),
    }


def cpu_name() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def revision() -> str:
    """gmc's version, and the commit it was taken from, if that can be told."""
    from gmc import __version__

    try:
        command = ["git", "describe", "--always", "--dirty"]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__} ({found.stdout.strip()})"


def single_thread() -> None:
    """One thread a process: with a process a core, more only wait for each other."""
    import torch

    torch.set_num_threads(1)


def parallel(work: Callable[..., T], tasks: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[tuple[int, T]]:
    """`work(*task)` of every task in `jobs` processes, each with the number of its task, as they end."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    with ProcessPoolExecutor(jobs, get_context("spawn"), single_thread) as pool:
        waiting = {pool.submit(work, *task): number for number, task in enumerate(tasks)}
        for done in as_completed(waiting):
            yield waiting[done], done.result()


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


class Watch:
    """Says how far a training is, ten times a stage."""

    def __init__(self, label: str) -> None:
        self.label, self.stage, self.tenth, self.started = label, "", 0, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Says it at the end of an epoch that begins a new tenth of a stage."""
        if progress.stage != self.stage:
            self.stage, self.tenth = progress.stage, 0
        if progress.report is None or progress.epoch * 10 // progress.epochs <= self.tenth:
            return
        self.tenth = progress.epoch * 10 // progress.epochs
        seconds = time.monotonic() - self.started
        say(f"{self.label}, {self.stage}: epoch {progress.epoch} of {progress.epochs}, {seconds:.0f} s")


def train(
    file: Path,
    params: Mapping[str, object],
    label: str,
    *,
    seed: int,
    data: Path | None = None,
    weights: Path | None = None,
) -> Run:
    """Runs the train stages of a .gm file, in memory."""
    import gmc

    model = gmc.compile(file, params, None if data is None else str(data))
    return model.train(seed=seed, weights=weights, watch=Watch(label))


def standard_error(values: Sequence[float]) -> float:
    """The standard error of the mean of independent values."""
    n = len(values)
    mean = sum(values) / n
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n) if n > 1 else math.nan


def rows_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as tables, one for each set of columns."""
    shapes: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        shapes.setdefault(tuple(row), []).append(row)
    return "\n".join(table(list(names), [[row[n] for n in names] for row in some]) for names, some in shapes.items())


def marks_text(marks: Sequence[Mark]) -> str:
    """The marks as a table."""
    cells = [[m.what, m.value, f"{m.relation} {number(m.bound)}", "yes" if m.passed else "NO"] for m in marks]
    return table(["", "value", "mark", "passed"], cells)


def number(value: object) -> str:
    """A number as tables show it."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if value == 0.0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
    return f"{value:.1e}"


def table(names: Sequence[str], cells: Sequence[Sequence[object]]) -> str:
    """A table for the terminal, numbers on the right."""
    texts = [[number(cell) for cell in row] for row in cells]
    widths = [max(len(row[i]) for row in [list(names), *texts]) for i in range(len(names))]
    right = [bool(cells) and all(isinstance(row[i], (int, float)) for row in cells) for i in range(len(names))]
    lines = [list(names), ["-" * w for w in widths], *texts]
    return "".join(
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip() + "\n"
        for line in lines
    )
