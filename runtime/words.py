"""Fills the vocabulary, and the catalogue of diagnostics, by importing all that registers itself; needs no torch."""

import gmc.compiler.conditions
import gmc.compiler.errors
import gmc.compiler.expectations
import gmc.compiler.factors
import gmc.compiler.families
import gmc.compiler.objectives
import gmc.compiler.starts
import gmc.compiler.updates
import gmc.runtime.errors
import gmc.runtime.evaluation_errors
import gmc.runtime.metrics
import gmc.runtime.optimizers
import gmc.runtime.probe_errors
import gmc.runtime.run_errors
import gmc.runtime.sources
import gmc.runtime.starts
import gmc.runtime.stops
import gmc.runtime.transforms  # noqa: F401
from gmc.dsl.vocabulary import VOCABULARY as VOCABULARY
