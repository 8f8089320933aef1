"""The methods of `gmc eval`: each module here registers one; adding one is adding a module."""

from __future__ import annotations

from gmc.dsl.vocabulary import import_modules
from gmc.runtime.evaluations.method import METHODS as METHODS

import_modules(__name__, __path__)
