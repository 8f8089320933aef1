"""The loss of an objective on rows that it does not train on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from gmc.dsl.vocabulary import VOCABULARY, Reference
from gmc.runtime.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from gmc.compiler.driver import Compiled
    from gmc.compiler.outcome import Outcome
    from gmc.dsl.model import Checked
    from gmc.runtime.dataset import Dataset

ROWS = 1000
"""How many rows are a batch."""


@VOCABULARY.register("loss")
class Loss(Metric):
    """The mean loss of an objective of the file on these rows, in nats a row; less is better.

    `goal`: the objective's name. Its schedules stand at their end, and its chains begin anew at each look, with the same random numbers, those that keep states too: of an objective with a chain
    that needs many steps to come to its law, such as a `persistent` one, it says little.
    """

    better: ClassVar[Literal["greater", "less"]] = "less"
    goal: Annotated[str, Reference("objective")]

    @property
    def label(self) -> str:
        """With the objective: a stage may watch several."""
        return f"loss({self.goal})"

    def measure(self, compiled: Compiled, params: Mapping[str, Tensor], data: Dataset) -> float:
        """The mean over the rows.

        Raises:
            TooLarge: it reads what the rows do not have, or trains one part of the model after the other.
        """
        import torch

        from gmc.runtime.engine import Engine, Rows
        from gmc.runtime.exact import Marginals, TooLarge
        from gmc.runtime.step import Place, TrainingStep, Works, wanted

        for name in dict.fromkeys(_read(compiled.checked, self.goal)):
            if name not in data.variables or data.gaps(name) is not None:
                raise TooLarge(f"`{self.goal}` reads `{name}`, which not all of these rows have")
        descents = compiled.descents(self.goal)
        if any(descent.phases > 1 for descent in descents):
            raise TooLarge(f"`{self.goal}` trains one part of the model after the other, and has no loss of the whole")
        engine = Engine(compiled, params, 0, "watch", wanted(compiled, {self.goal: descents}))
        works = Works(engine, Marginals(compiled))
        for module in (module for descent in descents for module in descent.graphs.values()):
            module.to(engine.device)
        terms, total = compiled.checked.objective(self.goal).terms, 0.0
        for numbers in torch.arange(data.rows).split(ROWS):
            about = Rows(data.batch(numbers.to(engine.device), 0), len(numbers), numbers, data.rows)
            ended: dict[str, Outcome] = {}
            for place, (term, descent) in enumerate(zip(terms, descents, strict=True)):
                at = Place(0, 1.0, descent.phases - 1)
                step = TrainingStep(works, about, at, f"{self.goal}.{place}", {}, ended)
                total += term.weight.at(1.0) * float(descent.slope(step).loss) * len(numbers)
        return total / data.rows


def _read(checked: Checked, goal: str) -> Iterator[str]:
    """The variables of which the objective needs every row to have all."""
    for term in checked.objective(goal).terms:
        yield from term.objective.reads(checked.model)
        for chain in checked.with_needs(term.objective.chains()):
            yield from (c.variable for c in chain.clamps if c.constant is None and c.chain is None and not c.observed)
            for start in chain.starts:
                if not isinstance(start.source, str) and start.source.word == "data":
                    yield from start.variables
