"""What the language names and this version does not have: refused as "not supported yet" rather than as unknown.

A word that is registered is never looked up here.
"""

from __future__ import annotations

from gmc.dsl.vocabulary import Kind

WORDS: dict[Kind, frozenset[str]] = {
    "family": frozenset({"logistic_mixture"}),
    "objective": frozenset({"adversarial", "autoencoder", "elbo", "vimco"}),
}
"""By kind. Layers, relaxations and losses occur only in forms that are refused whole."""


def is_planned(kind: Kind, name: str) -> bool:
    """Whether the language names a word of that kind that may not be registered yet."""
    return name in WORDS.get(kind, frozenset())
