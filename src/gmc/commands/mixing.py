"""How well chains mix, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gmc.runtime.diagnosing import Diagnosis, Quantity

HEAD = (
    ("", "sites", "R-hat", "", "effective", "", "autocorrelation", "", "change"),
    ("", "", "worst", "median", "worst", "median", "worst", "median", ""),
)


def mixing_text(found: Diagnosis) -> str:
    """A line for the energy and for each variable: worst and median over its sites, and what never moved."""
    kept = "every sweep" if found.every == 1 else f"every {found.every} sweeps one"
    burn = f" after the first {found.burn}" if found.burn else ""
    total = found.chains * found.kept
    about = (
        f"chain {found.chain}, seed {found.seed}: {found.chains} chains of {found.sweeps} sweeps, {kept} kept{burn}; "
        f"effective of {total}, autocorrelation times in sweeps"
    )
    rows = [*HEAD, *map(_cells, found.quantities)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEAD[0]))]
    notes = ["", "", *map(_note, found.quantities)]
    lines = []
    for row, note in zip(rows, notes, strict=True):
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join([*cells, note]).rstrip())
    return "\n".join([about, *lines]) + "\n"


def _cells(quantity: Quantity) -> tuple[str, ...]:
    worst, median = quantity.worst, quantity.median
    if worst is None or median is None:
        measures = ["-"] * 6
    else:
        measures = [f"{worst.r_hat:.3f}", f"{median.r_hat:.3f}", f"{worst.effective:.0f}", f"{median.effective:.0f}"]
        measures += [f"{worst.time:.3g}", f"{median.time:.3g}"]
    return (quantity.name, str(quantity.sites), *measures, f"{quantity.change:.3g}")


def _note(quantity: Quantity) -> str:
    """What never moved."""
    parts = [f"{quantity.constant} constant"] if quantity.constant else []
    parts += [f"{quantity.stuck} stuck in each chain"] if quantity.stuck else []
    return ", ".join(parts)
