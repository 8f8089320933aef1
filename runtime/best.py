"""The best parameters that training has seen, by a metric that is looked at now and then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor


@dataclass(slots=True)
class Best:
    """Looks at a metric so far, and the parameters of the best one: the look numbered `at`, from 1 on, at the end of epoch `epoch`; 0 where there is none."""

    looks: int = 0
    at: int = 0
    epoch: int = 0
    value: float = math.nan
    params: dict[str, Tensor] = field(default_factory=dict)

    def look(self, value: float, better: Literal["greater", "less"], epoch: int, params: Mapping[str, Tensor]) -> None:
        """Takes a look; keeps copies of parameters that are better than all before."""
        self.looks += 1
        if not math.isfinite(value):
            return
        if self.at and not (value > self.value if better == "greater" else value < self.value):
            return
        self.at, self.epoch, self.value = self.looks, epoch, value
        self.params = {name: param.clone() for name, param in params.items()}

    def counters(self) -> dict[str, Any]:
        """All but the parameters, as JSON has it."""
        return {"looks": self.looks, "at": self.at, "epoch": self.epoch, "value": self.value if self.at else None}

    @classmethod
    def of(cls, counters: Mapping[str, Any], params: Mapping[str, Tensor]) -> Best:
        """What `counters` and the parameters gave."""
        value = math.nan if counters["value"] is None else float(counters["value"])
        return cls(int(counters["looks"]), int(counters["at"]), int(counters["epoch"]), value, dict(params))
