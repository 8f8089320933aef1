"""The folder of a run: what is in it, what it is a run of, and what may be written over it.

`model.gm` is the text that was compiled, `config.json` the settings, `weights.safetensors` the parameters, `state.safetensors` the last checkpoint, which holds all that
a resume needs, `metrics.jsonl` a line an epoch; `last.safetensors` the last parameters of a stage whose best ones are the weights. A folder that holds settings is a run: they are written first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gmc.compiler.driver import Compiled
from gmc.compiler.graph import FactorGraph
from gmc.dsl.diagnostic import GmcError
from gmc.runtime import errors, run_errors
from gmc.runtime.source import reason
from gmc.runtime.storage import digest, leftovers, make_folder, remove_file, remove_leftovers, write_text

MODEL, CONFIG, WEIGHTS, STATE, METRICS = (
    "model.gm",
    "config.json",
    "weights.safetensors",
    "state.safetensors",
    "metrics.jsonl",
)
LAST = "last.safetensors"


CLEARING = "clearing"
"""The setting that says that an older run's files are being removed."""


def settings_of(
    compiled: Compiled,
    overrides: Mapping[str, str],
    data_path: str | None,
    data: Mapping[str, Tensor] | None,
    seed: int,
    weights: Path | None,
) -> dict[str, object]:
    """What a resume must not change."""
    tensors = {name: torch.as_tensor(value).cpu().contiguous() for name, value in (data or {}).items()}
    return {
        "set": dict(overrides),
        "data": data_path,
        "tensors": None if data is None else digest(tensors, {}),
        "seed": seed,
        "weights": str(weights) if weights else None,
        "params": {p.name: p.value for p in compiled.checked.params},
    }


def refuse(compiled: Compiled, out: Path, resume: bool, settings: Mapping[str, object]) -> None:
    """Refuses a folder that holds something else, or a resume that would not go on with what was begun."""
    if _unused(out):
        if resume:
            raise GmcError([run_errors.nothing_to_resume(None, str(out))], exit_code=2)
        return
    if not (out / CONFIG).is_file():
        raise GmcError([run_errors.folder_in_the_way(None, str(out))], exit_code=2)
    config = read_config(out)
    name = compiled.checked.model.name
    if config.get("model") != name:
        difference = f"it is called {config.get('model')}, and this one {name}"
        raise GmcError([run_errors.other_run(None, str(out), difference)], exit_code=2)
    if config.get("fingerprint") != fingerprint(compiled.graph):
        raise GmcError([run_errors.other_run(None, str(out), "its variables or edges differ")], exit_code=2)
    if resume:
        _refuse_resume(compiled, out, settings, config)


def _refuse_resume(compiled: Compiled, out: Path, settings: Mapping[str, object], config: Mapping[str, object]) -> None:
    """Refuses to go on with a run of this model that lost its checkpoint, or that began differently."""
    # weights come after the first checkpoint: without one they are not those of a training that was killed
    if not config.get(CLEARING) and (out / WEIGHTS).exists() and not (out / STATE).exists():
        raise GmcError([run_errors.nothing_to_resume(None, str(out))], exit_code=2)
    for what, now in settings.items():
        if config.get(what) != now:
            then, today = (_shown(value) for value in (config.get(what), now))
            raise GmcError([run_errors.settings_differ(None, str(out), what, then, today)], exit_code=2)
    if config.get("text") != _digest_of(compiled.checked.source.text):
        difference = "the .gm file was changed since"
        raise GmcError([run_errors.other_run(None, str(out), difference)], exit_code=2)


def _unused(out: Path) -> bool:
    """Whether nothing is there, or an empty folder; what a killed write left behind does not count."""
    try:
        return not out.exists() or (out.is_dir() and set(out.iterdir()) <= set(leftovers(out)))
    except OSError as error:
        raise GmcError([errors.not_written(None, str(out), reason(error), False)]) from None


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {each}" for name, each in value.items()) or "none"
    return "none" if value is None else str(value)


def _digest_of(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def lay(compiled: Compiled, out: Path, settings: Mapping[str, object], clear: bool) -> None:
    """Makes the folder and writes what it is a run of; with `clear` an older run of the same model goes.

    Raises:
        GmcError: the folder may not be written to.
    """
    make_folder(out)
    remove_leftovers(out)
    if clear:
        _clear(compiled, out, settings)
    _describe(compiled, out, settings, {})
    write_text(out / MODEL, compiled.checked.source.text)


def cleared(out: Path) -> bool:
    """Whether a folder is that of a run whose older files are not just being removed."""
    return (out / CONFIG).is_file() and not read_config(out).get(CLEARING)


def _clear(compiled: Compiled, out: Path, settings: Mapping[str, object]) -> None:
    """Removes an older run of the same model. That it goes is written first, so that no kill leaves its state beside this one's settings."""
    old = [out / name for name in (WEIGHTS, LAST, STATE, METRICS) if (out / name).exists()]
    if old:
        _describe(compiled, out, settings, {CLEARING: True})
    for path in old:
        remove_file(path)


def _describe(compiled: Compiled, out: Path, settings: Mapping[str, object], more: Mapping[str, object]) -> None:
    checked = compiled.checked
    config = {
        "model": checked.model.name,
        "source": str(Path(checked.source.path).resolve()),
        "text": _digest_of(checked.source.text),
        "fingerprint": fingerprint(compiled.graph),
        **settings,
        **more,
    }
    write_text(out / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")


def fingerprint(graph: FactorGraph) -> str:
    """What identifies a model's parameters and states: variables with their types and shapes, edges with their factors."""
    parts = [f"{v.name}:{v.observed}:{v.family}{list(v.shape)}" for v in graph.variables]
    parts += [f"{t.name}:{t.edge if t.targets else t.edge.ends}:{t.factor.identity()}:{t.owner}" for t in graph.terms]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def read_config(folder: Path) -> dict[str, object]:
    """The settings of a run.

    Raises:
        GmcError: the folder is not that of a run, or the settings are damaged.
    """
    path = folder / CONFIG
    try:
        content = path.read_bytes()
    except (OSError, ValueError):  # ValueError: a NUL in the path
        raise GmcError([run_errors.not_a_run(None, str(folder), f"readable {CONFIG}")]) from None
    try:
        config = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise GmcError([run_errors.damaged_config(None, str(path), "it is not JSON")]) from None
    wrong = "it is not an object" if not isinstance(config, dict) else _flaw(config)
    if wrong is not None:
        raise GmcError([run_errors.damaged_config(None, str(path), wrong)])
    return config


KINDS: dict[str, type | tuple[type, ...]] = {
    "data": (str, type(None)),
    "fingerprint": str,
    "model": str,
    "params": dict,
    "seed": int,
    "set": dict,
    "source": str,
    "text": str,
    "weights": (str, type(None)),
}
"""The settings whose kind matters where they are read."""


def _flaw(config: Mapping[str, object]) -> str | None:
    """What is wrong with settings, if anything is."""
    for name, kind in KINDS.items():
        if name in config and not isinstance(config[name], kind):
            return f"`{name}` is {json.dumps(config[name])[:40]}"
    return None if "fingerprint" in config else "it has no `fingerprint`"
