"""The ways of taking an expectation other than by running a chain. Each module here registers one."""

from gmc.dsl.vocabulary import import_modules

import_modules(__name__, __path__)
