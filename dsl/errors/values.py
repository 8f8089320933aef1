"""Diagnostics of values and arguments: GM301-GM329."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gmc.dsl.diagnostic import Related
from gmc.dsl.errors.catalogue import Finding, diagnostic
from gmc.dsl.errors.phrases import a, all_of, did_you_mean, one_of, plural, quoted
from gmc.dsl.source import Span


@diagnostic("GM301", "not a number")
def not_a_number(span: Span) -> Finding:
    """Something that has no constant numeric value where a number belongs."""
    return Finding(
        "a number belongs here", "write a number, a param, or a sum, difference, product or quotient of them"
    )


@diagnostic("GM302", "division by zero")
def division_by_zero(span: Span) -> Finding:
    """A quotient whose divisor is 0."""
    return Finding("this divisor is 0")


@diagnostic("GM303", "number out of bounds")
def not_finite(span: Span) -> Finding:
    """A value beyond 64-bit integers or 32-bit floats."""
    return Finding(
        "this value is too large", "integers are at most about 9.2e18 and other numbers at most about 3.4e38"
    )


@diagnostic("GM304", "not an integer")
def not_an_integer(span: Span, what: str, value: int | float) -> Finding:
    """A fraction, or a number written with a point or an exponent, where an integer belongs."""
    help = f"write {int(value)}" if value == int(value) else None
    return Finding(f"{what} must be an integer, and this is {value!r}", help)


@diagnostic("GM305", "number too small")
def too_small(span: Span, what: str, value: int | float, least: int | float) -> Finding:
    """A size or a count below the least there can be."""
    return Finding(f"{what} must be at least {least:g}, and this is {value:g}")


@diagnostic("GM306", "parameter out of its range")
def out_of_range(
    span: Span, name: str, value: int | float, low: int | float, high: int | float, *, override: bool
) -> Finding:
    """A param whose value, written or from the command line, lies outside `in [LO .. HI]`."""
    where = f"--set {name}={value:g}" if override else f"{value:g}"
    return Finding(f"{where} lies outside the range of `{name}`, {low:g} to {high:g}")


@diagnostic("GM307", "empty range")
def empty_range(span: Span, low: int | float, high: int | float) -> Finding:
    """A range whose lower bound lies above its upper one."""
    return Finding(f"nothing lies between {low:g} and {high:g}", "write the smaller bound first")


@diagnostic("GM308", "not a schedule")
def not_a_ramp(span: Span) -> Finding:
    """Arithmetic between two values of which both run, or a sum of one that runs and a number."""
    return Finding(
        "a value that runs from one number to another can be multiplied or divided by a number, and nothing else",
        "write both ends out: `(a -> b)`",
    )


@diagnostic("GM309", "cosine takes two values")
def cosine_takes_two(span: Span) -> Finding:
    """`cosine` with other than two arguments."""
    return Finding("`cosine` takes the value it starts from and the value it ends at", "write `cosine(0.1, 0.0)`")


@diagnostic("GM310", "unknown argument")
def unknown_argument(span: Span, word: str, name: str, arguments: Sequence[str]) -> Finding:
    """A named argument that the word does not have."""
    help = did_you_mean(name, arguments) if arguments else f"`{word}` takes no arguments"
    return Finding(f"`{word}` has no argument `{name}`", help)


@diagnostic("GM311", "too many arguments")
def too_many_arguments(span: Span, word: str, count: int, arguments: Sequence[str]) -> Finding:
    """More arguments by position than the word has."""
    takes = f"takes {all_of(quoted(arguments))}" if arguments else "takes no arguments"
    return Finding(
        f"`{word}` {takes}, and {plural(count, 'argument')} {'is' if count == 1 else 'are'} given by position"
    )


@diagnostic("GM312", "argument given by position and by name")
def argument_twice(span: Span, word: str, name: str, first: Span) -> Finding:
    """A named argument that a positional one already gives."""
    related = (Related(first, "given here by its position"),)
    return Finding(f"`{word}` has `{name}` already", "remove one of the two", related)


@diagnostic("GM313", "missing argument")
def missing_arguments(span: Span, word: str, missing: Sequence[str]) -> Finding:
    """A call without an argument that has no default."""
    verb = "is" if len(missing) == 1 else "are"
    example = ", ".join(f"{name} = ..." for name in missing)
    return Finding(f"`{word}` needs {all_of(quoted(missing))}, which {verb} not given", f"write `{word}({example})`")


@diagnostic("GM314", "wrong argument")
def wrong_argument(span: Span, word: str, name: str, reasons: Sequence[str], help: str | None = None) -> Finding:
    """An argument whose value the word does not take."""
    return Finding(f"`{name}` of `{word}` {one_of(list(dict.fromkeys(reasons)))}", help)


@diagnostic("GM315", "wrong arguments")
def wrong_call(span: Span, word: str, reasons: Sequence[str]) -> Finding:
    """Arguments that are right one by one and wrong together."""
    return Finding(f"`{word}`: {'; '.join(reasons)}")


@diagnostic("GM316", "argument of another sort")
def wrong_sort(span: Span, word: str, name: str, wanted: Sequence[str]) -> Finding:
    """An argument written as something that its word never takes there: a call, a string, a pipe, a value that runs."""
    return Finding(f"`{name}` of `{word}` takes {one_of(wanted)}")


@diagnostic("GM317", "unknown value")
def unknown_value(span: Span, word: str, argument: str, name: str, candidates: Sequence[str]) -> Finding:
    """A name given to an argument that is neither one of its choices nor anything that the file declares."""
    return Finding(f"`{argument}` of `{word}` cannot be `{name}`", did_you_mean(name, candidates))


def _short(bound: object) -> str:
    return f"{bound:g}" if isinstance(bound, (int, float)) else str(bound)


def reason(kind: str, given: Mapping[str, object], message: str) -> str:
    """What pydantic finds wrong with a value (its error type, context and text), in words that follow an argument's name."""
    match kind:
        case "int_type" | "int_from_float" | "int_parsing":
            return "must be an integer"
        case "float_type" | "float_parsing":
            return "must be a number"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "string_type" | "path_type":
            return "must be a string"
        case "greater_than":
            return f"must be greater than {_short(given['gt'])}"
        case "greater_than_equal":
            return f"must be at least {_short(given['ge'])}"
        case "less_than":
            return f"must be less than {_short(given['lt'])}"
        case "less_than_equal":
            return f"must be at most {_short(given['le'])}"
        case "literal_error":
            return f"must be {str(given['expected']).replace(chr(39), '`')}"
        case "tuple_type":
            return "must be a tuple such as (1, 2)"
        case "too_short":
            return f"must have at least {given['min_length']} values"
        case "too_long":
            return f"must have at most {given['max_length']} values"
        case "missing":
            return "has too few values"
        case "value_error" | "assertion_error":
            return str(given["error"])
        case "is_instance_of" | "model_type":
            return f"must be {a(str(given.get('class') or given.get('class_name', 'word')))}"
        case _:
            text = message.removeprefix("Input ").replace("should", "must")
            return text[:1].lower() + text[1:]
