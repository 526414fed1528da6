"""Data Docs: one page for one validation, drawn by Great Expectations' renderers, complete in itself.

The library's own page loads styles and scripts from six places in the network. Ours has its style in it and no
script, so that it can be read offline, from a bucket, and inside another page.
"""

from __future__ import annotations

import copy
import html
import re
from collections.abc import Sequence
from typing import Any

from include.ratchet.validation.checks import CheckResult

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h5{font-size:1.1rem;margin:1.5rem 0 .5rem}h6{margin:.5rem 0}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
th,td{border:1px solid #8884;padding:.35rem .6rem;text-align:left;vertical-align:top}
table table{width:auto}
.badge{background:#8882;border-radius:.3rem;padding:0 .35rem;font-family:ui-monospace,monospace}
.text-success{color:#1a7f37}.text-danger{color:#cf222e}.text-warning{color:#9a6700}
i.fa-check-circle::before,i.fa-check::before{content:"\\2713"}i.fa-times::before{content:"\\2717"}
i.fa-exclamation-triangle::before{content:"\\26A0"}i{font-style:normal;font-weight:bold}
"""


def draw_page(title: str, facts: Sequence[tuple[str, str]], results: Sequence[CheckResult]) -> str:
    """The page of one validation as HTML.

    Args:
        title: model, table and subject.
        facts: lines at the head, name and value.
        results: what was checked.
    """
    head = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in facts)
    sections = "".join(_draw_sections(result.result) for result in results)
    escaped = html.escape(title)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escaped}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{escaped}</h1><table>{head}</table>{sections}</body></html>"
    )


def _draw_sections(result: Any) -> str:
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaSectionView

    safe = copy.deepcopy(result)
    for single in safe.results:
        single.result = _escape(single.result)
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(safe)
    view = DefaultJinjaSectionView()
    drawn = [
        view.render({"section": section.to_json_dict(), "section_loop": {"index": index}})
        for index, section in enumerate(document.sections, start=1)
        if section.section_name != "Run Info"  # the library's own version and clock
    ]
    return _cut_links("".join(drawn))


def _cut_links(text: str) -> str:
    """Links lead to pages of a whole site, which is not built; scripts sort tables."""
    text = re.sub(r"<script\b.*?</script>", "", text, flags=re.DOTALL)
    return re.sub(r"<a\b[^>]*>(.*?)</a>", r"\1", text, flags=re.DOTALL)


def _escape(value: Any) -> Any:
    """The library puts values of the data into its page as they are."""
    if isinstance(value, dict):
        return {key: _escape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escape(inner) for inner in value]
    return html.escape(value) if isinstance(value, str) else value
