"""The checker: syntax tree -> checked model. A file here is a topic; `driver` runs them in order."""

from gmc.dsl.check.driver import CheckResult as CheckResult
from gmc.dsl.check.driver import Loaded as Loaded
from gmc.dsl.check.driver import check as check
from gmc.dsl.check.driver import load as load
from gmc.dsl.check.driver import load_source as load_source
from gmc.dsl.check.graph import edge_name as edge_name
