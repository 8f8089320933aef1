"""Diagnostics of running: what is wrong with the data (GM65x, GM66x) and with the files of a run (GM70x)."""

from __future__ import annotations

from collections.abc import Sequence

from gmc.dsl.diagnostic import Related, Severity, nearest
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.source import Span

# ── Data ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@diagnostic("GM650", "data file not found")
def data_file_not_found(span: Span, path: str, help: str | None = None) -> Finding:
    """Nothing lies where the source points; `path` as the user wrote it."""
    usual = "a path is relative to the folder of the .gm file; `--data PATH` names another place"
    return Finding(f"there is no `{path}`", help or usual)


@diagnostic("GM651", "unreadable data file")
def data_file_unreadable(span: Span, path: str, reason: str, help: str | None = None) -> Finding:
    """The file is there but is not of its kind, is damaged, or may not be read."""
    return Finding(f"`{path}` cannot be read: {reason}", help)


@diagnostic("GM652", "pickled data")
def pickled_data(span: Span, path: str, column: str) -> Finding:
    """An array of Python objects, which only a pickle can hold; loading it could run any code."""
    return Finding(
        f"`{column}` in `{path}` holds Python objects, which are never loaded",
        "save it as an array of numbers: `np.savez(path, name=np.asarray(values, dtype=np.float32))`",
    )


@diagnostic("GM653", "no data")
def no_rows(span: Span, what: str) -> Finding:
    """A file without a byte, or a column without a row."""
    return Finding(f"{what} is empty", "there must be at least one row")


@diagnostic("GM654", "unknown column")
def unknown_column(span: Span, column: str, names: Sequence[str], hint: str | None = None) -> Finding:
    """The source has no column of that name; `names` are those it has, `hint` what it knows of the others."""
    guess = nearest(column, names)
    help = f"did you mean `{guess}`?" if guess else f"its columns are {_listed(names)}"
    return Finding(f"the data have no column `{column}`", f"{help}\n{hint}" if hint else help)


@diagnostic("GM655", "data that are not numbers")
def not_numbers(span: Span, column: str, found: str, help: str | None = None) -> Finding:
    """A column of text, dates or anything else that is no number; `found` says what was met, and where."""
    return Finding(f"column `{column}` does not hold numbers: {found}", help)


@diagnostic("GM656", "data of another shape")
def data_shape(
    span: Span, variable: str, wanted: tuple[int, ...], found: tuple[int, ...], fitting: str | None, declared: Span
) -> Finding:
    """The rows of a column, after its transforms, do not have the shape of the variable."""
    return Finding(
        f"a row of the data has shape {shape(found)}, but `{variable}` has {shape(wanted)}",
        f"add `| {fitting}`" if fitting else f"nothing is reshaped silently: declare `{variable}` with {shape(found)}",
        (Related(declared, f"`{variable}` is declared here"),),
    )


@diagnostic("GM657", "missing values")
def missing_values(span: Span, variable: str, count: int, total: int, row: int, site: tuple[int, ...]) -> Finding:
    """NaN where no chain of the file asks what is observed; `row` and `site` place the first one."""
    many = "1 value is" if count == 1 else f"{count} values are"
    return Finding(
        f"{many} missing (NaN) of the {total} for `{variable}`; the first is in row {row}{_at(site)}",
        f"write `clamp {variable} where observed` in a chain to draw what a row lacks, or remove these rows",
    )


@diagnostic("GM658", "value outside the support")
def outside_support(
    span: Span,
    variable: str,
    support: str,
    value: float,
    row: int,
    site: tuple[int, ...],
    count: int,
    help: str | None,
    declared: Span,
) -> Finding:
    """A value that the type of the variable cannot take; `count` of them were met, and this is the first."""
    others = "" if count == 1 else f" ({count} values are outside)"
    return Finding(
        f"`{variable}` takes {support}, but row {row} has {value:g}{_at(site)}{others}",
        help,
        (Related(declared, f"`{variable}` is declared here"),),
    )


@diagnostic("GM659", "numbers of rows differ")
def rows_differ(span: Span, variable: str, rows: int, other: str, other_rows: int, other_span: Span) -> Finding:
    """Two variables of one split have different numbers of rows; `other` is the variable or column met first."""
    return Finding(
        f"`{variable}` has {rows} rows, but `{other}` has {other_rows}",
        "row i of every column of a split belongs to example i",
        (Related(other_span, f"`{other}` has {other_rows} rows"),),
    )


@diagnostic("GM660", "transform of other data")
def transform_misfit(span: Span, transform: str, message: str, help: str | None) -> Finding:
    """A transform that cannot take the values or the shape it is given."""
    return Finding(f"`{transform}` {message}", help)


@diagnostic("GM661", "missing value where a chain needs it")
def gap_in_clamp(span: Span, chain: str, variable: str, row: str, site: tuple[int, ...]) -> Finding:
    """A chain clamps a site, and a row that it runs on has no value of it; `row` in words: `training row 3`."""
    return Finding(
        f"chain `{chain}` clamps `{variable}`, but {row} has no value of it{_at(site)}",
        f"let the chain clamp it `where observed`, as in `clamp {variable} where observed`: what a row lacks is then drawn",
    )


@diagnostic("GM662", "missing value where a chain starts")
def gap_in_start(span: Span, chain: str, variable: str, row: str, site: tuple[int, ...]) -> Finding:
    """A chain starts a site from the data, and a row that it runs on has no value of it."""
    return Finding(
        f"chain `{chain}` starts `{variable}` from the data, but {row} has no value of it{_at(site)}",
        f"start `{variable}` from elsewhere: `start {variable} from noise`, or from a chain that fills it in",
    )


@diagnostic("GM664", "missing value where an objective needs it")
def gap_in_reading(span: Span, word: str, variable: str, row: str, site: tuple[int, ...]) -> Finding:
    """An objective reads a site of every row itself, and a row has no value of it."""
    return Finding(
        f"`{word}` needs all of `{variable}`, but {row} has no value of it{_at(site)}",
        "train by `likelihood` with a positive chain that clamps `where observed`, or leave such rows out",
    )


@diagnostic("GM663", "nothing is missing", Severity.WARNING)
def nothing_missing(span: Span, chain: str, variable: str) -> Finding:
    """`where observed` of what every training row has."""
    return Finding(
        f"every training row has all of what chain `{chain}` clamps here of `{variable}`",
        "leave `where observed` out: the chain is then the same, and a sweep takes less",
    )


# ── Files of a run ───────────────────────────────────────────────────────────────────────────────────────────────────


@diagnostic("GM700", "file not written")
def not_written(span: Span | None, path: str, reason: str, kept: bool) -> Finding:
    """The operating system refused a write; `kept` says whether an earlier version of the file is in place."""
    state = "the last good version of the file is intact" if kept else "nothing of it was left behind"
    return Finding(f"`{path}` could not be written: {reason}; {state}", "make room or choose another folder, and go on")


@diagnostic("GM701", "file not found in the run")
def run_file_not_found(span: Span | None, path: str) -> Finding:
    """A file that should be there is not."""
    return Finding(f"there is no file `{path}`", "train the model first, or name the folder of a run")


@diagnostic("GM702", "damaged file")
def damaged_file(span: Span | None, path: str, reason: str) -> Finding:
    """A tensor file that is cut short, altered or of another format, or that may not be read."""
    return Finding(f"`{path}` cannot be read as a tensor file: {reason}", "use an undamaged copy, or train again")


@diagnostic("GM703", "file of unknown origin")
def foreign_file(span: Span | None, path: str) -> Finding:
    """A sound tensor file that does not say which model it belongs to."""
    return Finding(f"`{path}` was not written by gmc: it does not say which model it belongs to")


@diagnostic("GM704", "file of another model")
def other_model(span: Span | None, path: str) -> Finding:
    """A tensor file that another model wrote."""
    return Finding(
        f"`{path}` belongs to another model", "compile the model it was made with, or write to another folder"
    )


@diagnostic("GM705", "metrics cut short", Severity.WARNING)
def metrics_short(span: Span | None, path: str, missing: int) -> Finding:
    """The metrics file has fewer bytes than when the checkpoint was written; training goes on without them."""
    return Finding(f"`{path}` lacks {missing} bytes that it had at the checkpoint: earlier metrics are lost")


def shape(sizes: tuple[int, ...]) -> str:
    """A shape as a .gm file writes it."""
    return f"[{', '.join(map(str, sizes))}]" if sizes else "no axes"


def _at(site: tuple[int, ...]) -> str:
    return f" at {shape(site)}" if site else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
