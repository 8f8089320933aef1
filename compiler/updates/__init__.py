"""The registered updates of chains: each module here registers one; adding one is adding a module."""

from gmc.dsl.vocabulary import import_modules

import_modules(__name__, __path__)
