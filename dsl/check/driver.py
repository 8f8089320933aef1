"""The checker on one screen: names, params, model, data, chains, objectives, stages, each on what stands before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gmc.dsl import model, syntax
from gmc.dsl.check import chains, objectives, train
from gmc.dsl.check.context import Context
from gmc.dsl.check.data import check_data
from gmc.dsl.check.graph import check_model, written_name
from gmc.dsl.check.imports import Imports, Loader
from gmc.dsl.check.params import check_params
from gmc.dsl.check.scope import Scope
from gmc.dsl.check.surroundings import Surroundings
from gmc.dsl.diagnostic import Diagnostic, GmcError, has_errors, in_order
from gmc.dsl.errors import names as name_errors
from gmc.dsl.errors import objectives as train_errors
from gmc.dsl.errors import unsupported
from gmc.dsl.parser import parse, read_source
from gmc.dsl.source import Source
from gmc.dsl.vocabulary import VOCABULARY, Vocabulary

S = TypeVar("S", bound=syntax.Statement)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The checked model, None where an error was found, and all that was found, by place."""

    checked: model.Checked | None
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that holds no mistake, and what is worth saying of it nevertheless."""

    checked: model.Checked
    warnings: tuple[Diagnostic, ...]


def load(
    path: str | Path,
    overrides: Mapping[str, str] | None = None,
    data_path: str | None = None,
    vocabulary: Vocabulary = VOCABULARY,
) -> Loaded:
    """Reads, parses and checks a file.

    `overrides` are the values of `--set`, `data_path` is that of `--data`.

    Raises:
        GmcError: with all that was found; its exit code is 2 where nothing but the command line is wrong. A file whose
            syntax is wrong is not checked: what its tree lacks would be missed everywhere.
    """
    return load_source(read_source(path), overrides, data_path, vocabulary)


def load_source(
    source: Source,
    overrides: Mapping[str, str] | None = None,
    data_path: str | None = None,
    vocabulary: Vocabulary = VOCABULARY,
) -> Loaded:
    """Parses and checks a text; see `load`."""
    parsed = parse(source)
    if not parsed.ok:
        raise GmcError(parsed.diagnostics)
    result = check(parsed.file, source, vocabulary, overrides, data_path)
    found = in_order((*parsed.diagnostics, *result.diagnostics))
    if result.checked is None:
        raise GmcError(found, exit_code=2 if _only_command_line(found) else 1)
    return Loaded(result.checked, found)


def check(
    file: syntax.File,
    source: Source,
    vocabulary: Vocabulary,
    overrides: Mapping[str, str] | None = None,
    data_path: str | None = None,
    loader: Loader = read_source,
) -> CheckResult:
    """What a syntax tree means, and every mistake that can be told in one run."""
    report: list[Diagnostic] = []
    context = Context(vocabulary, Scope(vocabulary, report), {}, report)
    statements = Imports(report, loader).flatten(file, source)
    _declare(context, statements)
    params = check_params(context, list(_all(statements, syntax.Param)), overrides or {})
    tree = _only(context, statements, syntax.Model)
    if tree is None:
        context.add(name_errors.no_model(source.end_span()))
    empty = model.Model("", (), (), file.span)
    graph, whole = (empty, False) if tree is None else check_model(context, tree)
    data_tree = _only(context, statements, syntax.Data)
    data = None if data_tree is None else check_data(context, data_tree, data_path)
    if data_tree is None and data_path is not None:
        context.add(name_errors.data_without_statement(None))
    columns = _columns(data) if data_tree is None or data is not None else None

    chain_trees = list(_all(statements, syntax.Chain))
    around = Surroundings(graph, whole, columns)
    found_chains = [chains.check_chain(context, each, around) for each in chain_trees]
    circular = chains.refuse_circles(context, chain_trees)
    good_chains = () if circular else tuple(chain for chain in found_chains if chain is not None)

    right = model.Checked(source, params, graph, data, good_chains, (), ())
    found_objectives = [objectives.check_objective(context, each) for each in _all(statements, syntax.Objective)]
    good = [each for each in found_objectives if each is not None]
    if whole and columns is not None:
        named = {chain.name for chain in good_chains}
        for _, terms in good:
            objectives.find_problems(context, [t for t in terms if named.issuperset(t.call.word.chains())], right)
    good_objectives = tuple(objective for objective, _ in good)
    if len(good) == len(found_objectives) and whole:
        compared = frozenset(c for o in good_objectives for t in o.terms for c in t.objective.chains())
        chains.warn_of_idle(context, good_chains, graph, compared)

    stages = _stages(context, list(_all(statements, syntax.Train)), good_chains, good_objectives, right, columns)
    checked = None
    if not has_errors(report):
        doc = file.docstring.value if file.docstring else None
        checked = model.Checked(source, params, graph, data, good_chains, good_objectives, stages, doc)
    return CheckResult(checked, in_order(dict.fromkeys(report)))


def _declare(context: Context, statements: Sequence[syntax.Statement]) -> None:
    """Gives every name its meaning, in the order of the file, before any is looked up."""
    first_model = next(_all(statements, syntax.Model), None)
    for statement in statements:
        match statement:
            case syntax.Param():
                context.scope.declare(statement.name.text, "param", statement.name.span)
            case syntax.Net():
                context.scope.declare(statement.name.text, "net", statement.name.span)
                context.add(unsupported.form(statement.span, "`net`"))
            case syntax.Model() if statement is first_model:
                _declare_model(context, statement)
            case syntax.Chain():
                context.scope.declare(statement.name.text, "chain", statement.name.span)
            case syntax.Objective():
                context.scope.declare(statement.name.text, "objective", statement.name.span)
            case syntax.Test():
                context.add(unsupported.form(statement.span, "`test`"))
            case _:
                pass


def _declare_model(context: Context, tree: syntax.Model) -> None:
    for item in tree.items:
        if isinstance(item, syntax.Variable):
            context.scope.declare(item.name.text, "variable", item.name.span)
    for item in tree.items:
        if not isinstance(item, syntax.Variable):
            name, span, made = written_name(item)
            context.scope.declare(name, "edge", span, made=made)


def _stages(
    context: Context,
    trees: Sequence[syntax.Train],
    good_chains: Sequence[model.Chain],
    good_objectives: Sequence[model.Objective],
    right: model.Checked,
    columns: frozenset[str] | None,
) -> tuple[model.Stage, ...]:
    around = train.Trained(right.model, {c.name: c for c in good_chains}, {o.name: o for o in good_objectives}, columns)
    train.refuse_repeated(context, trees)
    found = [train.check_stage(context, tree, around) for tree in trees]
    stages = tuple(stage for stage in found if stage is not None)
    if trees and right.data is None and columns is not None:
        context.add(train_errors.no_data(trees[0].span, train.stage_name(trees[0])))
    else:
        train.refuse_nothing_to_clamp_to(context, stages, around)
        train.refuse_nothing_to_read(context, stages, around)
        train.note_unwatched(context, trees, right.data)
    if len(stages) == len(trees):
        train.warn_of_untrained(context, stages, right.model)
    return stages


def _columns(data: model.Data | None) -> frozenset[str]:
    return frozenset(binding.variable for binding in data.bindings if binding.split == "train") if data else frozenset()


def _all(statements: Sequence[syntax.Statement], kind: type[S]) -> Iterator[S]:
    return (statement for statement in statements if isinstance(statement, kind))


def _only(context: Context, statements: Sequence[syntax.Statement], kind: type[S]) -> S | None:
    """The statement of which a file has one; a diagnostic for every other."""
    found = list(_all(statements, kind))
    for other in found[1:]:
        context.add(name_errors.repeated_statement(other.span, kind.__name__.lower(), found[0].span))
    return found[0] if found else None


def _only_command_line(found: Sequence[Diagnostic]) -> bool:
    errors = [each for each in found if each.is_error]
    return all(each.code in name_errors.COMMAND_LINE for each in errors)
