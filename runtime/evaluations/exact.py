"""The exact log-likelihood."""

from __future__ import annotations

import torch

from gmc.runtime.evaluation import Evaluation
from gmc.runtime.evaluations.method import PART, Task, method
from gmc.runtime.partition import exact_partition


@method("exact", "log-likelihood by enumeration, for small models")
def exact(task: Task) -> Evaluation:
    """The exact mean log-likelihood of the rows' variables, of what each row has of them where some values are missing.

    Raises:
        TooLarge: the model cannot be summed.
    """
    held, data = task.likelihood, task.data
    partition = exact_partition(held.log_z, held.marginal(()))
    parts = [held.log_likelihood(data.batch(rows, 0)) for rows in task.numbers().split(PART)]
    how = f"{partition.how}; given the data, {held.marginal(data.variables)}"
    what = task.variables
    if lacking := task.lacking:
        how += f"; missing values of {lacking} summed out too, row by row"
        what = f"what is observed of {what}"
    bias = "none: sums over all states"
    return Evaluation("exact", f"log p({what})", "exact", bias, how, torch.cat(parts), partition)
