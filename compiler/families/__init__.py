"""The families. Each module here registers one; adding a family is adding a module."""

from gmc.dsl.vocabulary import import_modules

import_modules(__name__, __path__)
