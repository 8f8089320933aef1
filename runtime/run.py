"""A trained model: parameters, and the folder they came from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

import gmc.runtime.words  # noqa: F401
from gmc.compiler.driver import Compiled, compile_checked
from gmc.compiler.graph import FactorGraph
from gmc.compiler.proper import build_proper
from gmc.dsl.check import load_source
from gmc.dsl.diagnostic import Diagnostic, GmcError
from gmc.dsl.model import Split
from gmc.dsl.parser import read_source
from gmc.dsl.source import Source
from gmc.runtime import run_errors
from gmc.runtime.blame import located
from gmc.runtime.clamping import Numbers, Value, encode_values
from gmc.runtime.dataset import Dataset, Datasets, load_data
from gmc.runtime.diagnosing import DEFAULT_CHAINS, Diagnosis, diagnose
from gmc.runtime.engine import Kept
from gmc.runtime.evaluation import Evaluation
from gmc.runtime.evaluations import METHODS
from gmc.runtime.evaluations.method import Task, evaluate
from gmc.runtime.exact import TooLarge
from gmc.runtime.folder import MODEL, STATE, WEIGHTS, fingerprint, read_config
from gmc.runtime.likelihood import Likelihood
from gmc.runtime.predicting import Prediction, predict
from gmc.runtime.probe import Probe, probe
from gmc.runtime.request import ask, whole
from gmc.runtime.rowwise import rows_in
from gmc.runtime.sampling import Samples, Stream, average, collect
from gmc.runtime.storage import read_tensors


@dataclass(slots=True, eq=False)
class Run:
    """A model with parameters: samples, evaluates."""

    compiled: Compiled
    params: dict[str, Tensor]
    folder: Path | None = None
    kept: dict[str, Kept] = field(default_factory=dict)
    constants: dict[str, Tensor] = field(default_factory=dict)
    seed: int = 0
    warnings: tuple[Diagnostic, ...] = ()
    _data: Datasets | None = None

    @classmethod
    def of(cls, compiled: Compiled, params: Mapping[str, Tensor], device: torch.device) -> Run:
        """A run of given parameters.

        Raises:
            GmcError: their names or shapes are not the model's.
        """
        fit(compiled.graph, params, "the parameters")
        return cls(compiled, {name: p.to(device) for name, p in params.items()})

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((p.device for p in self.params.values()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' type."""
        return next((p.dtype for p in self.params.values()), torch.float32)

    def data(self) -> Datasets:
        """The data of the file, read at first use.

        Raises:
            GmcError: they cannot be read.
        """
        if self._data is None:
            self._data = load_data(self.compiled.checked, self.seed, self.device, self.dtype, self.constants or None)
        return self._data

    def rows(self, split: Split) -> Dataset | None:
        """A split's rows."""
        data = self.data()
        return {"train": data.train, "valid": data.valid, "test": data.test}[split]

    def sample(
        self,
        chain: str,
        *,
        chains: int | None = None,
        sweeps: int | None = None,
        clamp: Mapping[str, Value] | None = None,
        seed: int = 0,
        start: str | None = None,
        every: int | None = None,
        burn: int = 0,
    ) -> Samples:
        """Runs a chain of the file and gives all its variables as they are after the last sweep, or after several.

        `clamp` gives values to clamped variables: tensors in the variable's whole shape (one row, or one a chain), a number, or a source as on the
        command line. `chains`: how many; by default as many as the clamp source has rows, else 64. `start` names another chain, which is run first on the same
        rows: every free variable starts from where it ends. With `every`, every so many sweeps of those after the first `burn` are kept, and
        always the last one: values are then `[chains, kept, *shape]`.

        Raises:
            GmcError: an unknown chain, or sources or numbers that do not fit.
        """
        stream = self.stream(
            chain, chains=chains, sweeps=sweeps, clamp=clamp, seed=seed, start=start, every=every, burn=burn
        )
        return collect(stream, stream)

    def stream(
        self,
        chain: str,
        *,
        chains: int | None = None,
        sweeps: int | None = None,
        clamp: Mapping[str, Value] | None = None,
        seed: int = 0,
        start: str | None = None,
        every: int | None = None,
        burn: int = 0,
        means: bool = True,
        watch: Callable[[float], None] | None = None,
        fallback: int | None = None,
    ) -> Stream:
        """The same in parts, so that any number of samples takes little memory: `for part in run.stream(..): part.samples.values[..]`.

        `means = False` leaves the means out; `watch` is told which share of the work is done; `fallback` is how many chains there are where neither `chains` nor
        a source with several rows says it.

        Raises:
            GmcError: as of `sample`.
        """
        request = ask(
            self,
            chain,
            chains=chains,
            sweeps=sweeps,
            clamp=clamp,
            seed=seed,
            start=start,
            every=every,
            burn=burn,
            fallback=fallback,
        )
        if every is None and burn:
            what = "sweeps at the beginning are left out of what is kept, which is only the last one"
            help = "say with `--every N` how often one is to be kept, or leave out `--burn`"
            raise GmcError([run_errors.options_disagree(None, what, help)], exit_code=2)
        return Stream(request, None if every is None else request.course.count, means, watch=watch)

    def average(
        self,
        chain: str,
        *,
        chains: int | None = None,
        sweeps: int | None = None,
        clamp: Mapping[str, Value] | None = None,
        seed: int = 0,
        start: str | None = None,
        burn: int = 0,
    ) -> dict[str, Tensor]:
        """Mean values of every variable over the sweeps after the first `burn`, `[chains, *shape]`, of a categorical probabilities `[chains, *shape, k]`.

        Each site enters each sweep by its mean given the rest at the moment when it was drawn, which varies less than the draw.

        Raises:
            GmcError: as of `sample`.
        """
        return average(
            ask(self, chain, chains=chains, sweeps=sweeps, clamp=clamp, seed=seed, start=start, every=1, burn=burn)
        )

    def diagnose(
        self,
        chain: str,
        *,
        chains: int | None = None,
        sweeps: int | None = None,
        clamp: Mapping[str, Value] | None = None,
        seed: int = 0,
        start: str | None = None,
        every: int = 1,
        burn: int = 0,
    ) -> Diagnosis:
        """How well a chain mixes, from several copies of it, by default 4: R-hat, effective sample size, autocorrelation time, and how often its sites change.

        The energy and the free sites of every kept sweep are held in memory.

        Raises:
            GmcError: as of `sample`; or there are fewer than two chains or four kept sweeps, or the chains are clamped to different values.
        """
        found = self.stream(
            chain,
            chains=chains,
            sweeps=sweeps,
            clamp=clamp,
            seed=seed,
            start=start,
            every=every,
            burn=burn,
            means=False,
            fallback=DEFAULT_CHAINS,
        )
        return diagnose(found)

    def predict(
        self,
        chain: str,
        of: str,
        *,
        split: Split = "test",
        sweeps: int | None = None,
        burn: int | None = None,
        chains: int = 1,
        seed: int = 0,
        watch: Callable[[float], None] | None = None,
    ) -> Prediction:
        """What a chain predicts of a variable that it draws, for the rows of a split, and how well the data agree.

        The chain runs on every row, `chains` times, clamped to what the data have. The prediction is the mean of the variable given the rest, in the last sweep,
        or, with `burn`, averaged over the sweeps after the first `burn`. `watch` is told which share of the rows is done.

        Raises:
            GmcError: a name is unknown, the chain clamps the variable, or the split lacks values that are needed.
        """
        return predict(self, chain, of, split, sweeps=sweeps, burn=burn, chains=chains, seed=seed, watch=watch)

    def probe(
        self,
        of: str,
        *,
        chain: str | None = None,
        model: str = "logistic",
        features: Sequence[str] | None = None,
        split: Split = "test",
        seed: int = 0,
        watch: Callable[[float], None] | None = None,
    ) -> Probe:
        """How well a standard classifier tells a label from the means of latent variables, all of the model frozen.

        `of` is an observed variable with one value a row, or a column of the data; `TRAIN/OTHER` names the columns of both splits. The chain runs on every row; by
        default it is the one that clamps all other observed variables and nothing else. `model` is `logistic` or `mlp`. `features` are latent variables, by default all. The classifier learns from the
        training rows and is scored on those of `split`; `seed` is that of the chains, of which rows it holds out to choose by, and of a network's first weights.
        `watch` is told which share of the rows has run through the chain.

        Raises:
            GmcError: scikit-learn is not installed; a name is unknown; the chain is given the label; rows lack what is needed, or are too few.
        """
        return probe(self, of, chain=chain, model=model, features=features, split=split, seed=seed, watch=watch)

    def log_likelihood(self, values: Mapping[str, Numbers], given: Collection[str] = ()) -> Tensor:
        """Exact log p of values `[rows, *shape]` of some variables, all others summed out; float64 `[rows]`.

        A value that is NaN is missing: it is summed out as well, each row by what it has.
        `given` names those of them that are conditioned on: with values of y and v, `given = ("v",)` is log p(y | v), which needs no log Z.

        Raises:
            GmcError: a name or a value is wrong, or the model is too large to sum.
        """
        for name in given:
            if name not in values:
                raise GmcError([run_errors.unknown_choice(None, "value", name, list(values))], exit_code=2)
        if not values:
            raise GmcError([run_errors.no_values(None, "log_likelihood")])
        encoded = {name: encode_values(self.compiled, name, value, lacks=True) for name, value in values.items()}
        counts = {name: value.shape[0] for name, value in encoded.items()}
        if len(set(counts.values())) > 1:
            raise GmcError([run_errors.rows_disagree(None, [f"{n} has {c} rows" for n, c in counts.items()])])
        span = self.compiled.checked.model.span
        try:
            return located(span, lambda: Likelihood(self.compiled, self.params).log_likelihood(encoded, given))
        except TooLarge as error:
            raise GmcError([run_errors.too_large(span, str(error))]) from None

    def evaluate(
        self,
        method: str = "exact",
        split: Split = "test",
        *,
        rows: int | None = None,
        seed: int = 0,
        chains: int | None = None,
        temperatures: int | str | None = None,
        reverse: bool | None = None,
        tolerance: float | None = None,
        damping: float | None = None,
        samples: int | None = None,
        devices: Sequence[str] = (),
        dtype: torch.dtype | None = None,
        watch: Callable[[float], None] | None = None,
    ) -> Evaluation:
        """Evaluates the rows of a split, by all variables that have a column there.

        `method`: `exact`, `pseudo`, `ais`, `raise` or `bound`. `rows`: how many of the rows, chosen by the seed. `chains`: for log Z, and of `raise` for each row.
        `temperatures`: a number, `classic`, `adaptive` or `adaptive:SHARE`. `reverse`: anneals log Z in reverse too. `tolerance`, `damping`: of mean field. `samples`: draws
        of each row from `~>` edges. None is the method's own default. `devices`: where chains run, shared out by number, so that the result does not depend on them; `dtype`: that of chains, by default the parameters'. `watch` is
        told the share that is done.

        Raises:
            GmcError: the method is unknown, takes no such option or does not apply, or there are no such rows.
        """
        if method not in METHODS:
            raise GmcError([run_errors.unknown_choice(None, "method", method, sorted(METHODS))], exit_code=2)
        options = {
            "chains": chains,
            "temperatures": temperatures,
            "reverse": reverse,
            "tolerance": tolerance,
            "damping": damping,
            "samples": samples,
        }
        task = Task(
            self.compiled,
            self.params,
            rows_in(self, split),
            self.rows("train"),
            None if rows is None else whole("the number of rows", rows, 1),
            whole("the seed", seed, 0),
            tuple(find_device(name) for name in devices),
            dtype,
            watch,
        )
        try:
            return evaluate(method, task, {name: value for name, value in options.items() if value is not None})
        except TooLarge as error:
            raise GmcError([run_errors.no_method(task.span, method, str(error))]) from None


def fit(graph: FactorGraph, params: Mapping[str, Tensor], path: str) -> None:
    """Checks that arrays are the model's parameters.

    Raises:
        GmcError: with what is missing, unknown, not finite, or of another shape; or that they leave no normalisable law.
    """
    wanted = {p.name: p.shape for p in graph.parameters}
    missing = [name for name in wanted if name not in params]
    unknown = [name for name in params if name not in wanted]
    shapes = [
        f"{name} has shape {list(params[name].shape)}, not {list(shape)}"
        for name, shape in wanted.items()
        if name in params and tuple(params[name].shape) != shape
    ]
    shapes += [f"{name} has values that are not finite" for name in wanted if _broken(params.get(name))]
    for term in () if missing or unknown or shapes else graph.terms:
        suffixes = term.factor.parameters(term.ends) if term.owner == term.name else {}
        flaw = term.factor.flaw(term.ends, {s: params[term.parameter(s)] for s in suffixes}) if suffixes else None
        shapes += [f"the weight of {term.name} {flaw}"] if flaw else []
    if missing or unknown or shapes:
        raise GmcError([run_errors.weights_differ(None, path, missing, unknown, shapes)])
    proper = build_proper(graph)
    if proper is not None and (flaws := proper.check(params)):
        raise GmcError([run_errors.improper(None, path, flaws)])


def _broken(value: Tensor | None) -> bool:
    """Whether an array that is there has NaN or infinities."""
    return value is not None and not bool(value.isfinite().all())


def open_run(folder: Path | str, device: str = "cpu") -> Run:
    """The run in a folder.

    Raises:
        GmcError: it is not the folder of a run, or its files are damaged or of another model.
    """
    folder = Path(folder)
    config = read_config(folder)
    for name in (MODEL, WEIGHTS):
        if not (folder / name).is_file():
            raise GmcError([run_errors.not_a_run(None, str(folder), name)])
    overrides, data_path, seed = config.get("set", {}), config.get("data"), config.get("seed", 0)
    assert isinstance(overrides, dict) and isinstance(seed, int)
    # what the file refers to lies where it was compiled
    origin = str(config.get("source") or folder / MODEL)
    text = read_source(folder / MODEL).text
    given = {str(k): str(v) for k, v in overrides.items()}
    loaded = load_source(Source(origin, text), given, str(data_path) if data_path else None)
    compiled = compile_checked(loaded.checked)
    mark = fingerprint(compiled.graph)
    params, _ = read_tensors(folder / WEIGHTS, mark)
    fit(compiled.graph, params, str(folder / WEIGHTS))
    place = find_device(device)
    run = Run.of(compiled, params, place)
    run.folder = folder
    run.seed = seed
    if (folder / STATE).is_file():
        tensors, _ = read_tensors(folder / STATE, mark)
        run.kept = kept_states(tensors, place)
        run.constants = {k.removeprefix("constant/"): v for k, v in tensors.items() if k.startswith("constant/")}
    return run


def kept_states(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Kept]:
    """The persistent states among the tensors of a checkpoint, by chain."""
    kept: dict[str, Kept] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        # `MODEL:CHAIN`; only the model's own chains, whose MODEL is empty, can be sampled
        if kind == "born" and name.startswith(":"):
            kept.setdefault(name[1:], Kept()).born = value
        elif kind == "chain" and name.startswith(":"):
            chain, _, variable = name[1:].partition(":")
            kept.setdefault(chain, Kept()).states[variable] = value.to(device)
    return kept


def find_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        GmcError: torch does not know it, or it is not there.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise GmcError([run_errors.no_device(None, name, reason)], exit_code=2) from None
    return device
