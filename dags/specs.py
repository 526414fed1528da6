"""Shows every spec that is not valid as an import error of this file; the DAGs of the other models go on."""

from __future__ import annotations

from airflow.sdk import get_parsing_context

from include.ratchet.errors import SpecError
from include.ratchet.orchestration.specs import broken_specs

if get_parsing_context().dag_id is None and (errors := broken_specs()):
    raise SpecError("\n\n".join(str(error) for error in errors))
