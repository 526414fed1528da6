"""What a backtest comes to: the recommended policy, and the report as table, plot, page and files."""

from __future__ import annotations

import hashlib
import html
import io
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import yaml

from include.ratchet.data.blobs import open_blobs
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.monitoring.backtest import newest_path
from include.ratchet.monitoring.backtest.policies import ADAPTIVE
from include.ratchet.monitoring.backtest.run import Backtest, PolicyResult
from include.ratchet.settings import Settings
from include.ratchet.spec import NIGHTLY, ModelSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEEP = 0.95
"""Share of nightly's gain that a recommended policy keeps."""
CHEAP = 0.2
"""Share of nightly's fits from which on it is said that the policy is not cheap."""
_COLUMNS = (
    "policy", "mean of days", "pooled", "gain over never", "of nightly's", "fits", "fit s", "refused", "alarms",
    "people", "harmed", "missed",
)  # fmt: skip
_INK = ("#0b5cad", "#c2410c", "#15803d", "#7e22ce", "#b45309", "#0e7490")
_MUTED = "#9aa5b1"
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}th,td{border:1px solid #8884;padding:.3rem .6rem;text-align:left}"
    "pre{background:#8882;padding:.8rem}svg{max-width:100%;height:auto;background:#fff}"
)


@dataclass(frozen=True)
class Recommendation:
    """What to do.

    Attributes:
        policy: the cheapest that keeps nightly's gain; None if retraining does not pay on this history.
        pays: whether nightly's gain over `never`, of the metric or of what predictions are worth, is surely above 0.
        kept: share of nightly's gain that the policy keeps; None where it does not pay.
        fits_share: its fits as a share of nightly's.
        reason: why, in sentences.
        section: `schedule:` and `monitoring:` to put in place of the model's own in `model.yaml`.
    """

    policy: str | None
    pays: bool
    kept: float | None
    fits_share: float
    reason: str
    section: str


def recommend(result: Backtest, spec: ModelSpec) -> Recommendation:
    """The policy of fewest fits that keeps nearly all of nightly's gain over `never`, if there is such a gain."""
    found = _choose(result, spec)
    if spec.segments is None:
        return found
    return replace(found, reason=f"{found.reason} This is of one model of all rows; segments are not replayed.")


def _choose(result: Backtest, spec: ModelSpec) -> Recommendation:
    nightly = result.policy("nightly")
    measure, gains = _decisive(result)
    whole = gains["nightly"]
    if not whole.low > 0:
        reason = (
            f"Retraining does not pay on this history: nightly's gain of {measure} over never is {whole}, "
            f"which is not surely above 0, for {nightly.fits} fits. Train on request, and let signals tell people."
        )
        surer = [f"{one.name} ({gains[one.name]}, {one.fits} fits)" for one in result.policies
                 if gains[one.name].low > 0]  # fmt: skip
        if surer:
            reason += f" By itself the gain of {' and of '.join(surer)} is above 0: with more history, ask again."
        share = result.policy("never").fits / nightly.fits
        return Recommendation(None, False, None, share, reason, render_section(spec, None))
    keeping = [one for one in result.policies if gains[one.name].value >= KEEP * whole.value]
    best = min(keeping, key=lambda one: (one.fits, -gains[one.name].value))
    kept, share = gains[best.name].value / whole.value, best.fits / nightly.fits
    reason = (
        f"{best.name} keeps {kept:.0%} of nightly's gain of {measure} over never ({whole}) "
        f"with {best.fits} of its {nightly.fits} fits ({share:.0%})."
    )
    if measure != result.metric:
        reason = f"By {result.metric} alone it would not pay: nightly's gain is {nightly.gain}. {reason}"
    if share > CHEAP:
        reason += f" No policy that was tried keeps {KEEP:.0%} with at most {CHEAP:.0%} of the fits."
    return Recommendation(best.name, True, kept, share, reason, render_section(spec, best.name))


def _decisive(result: Backtest) -> tuple[str, dict[str, Interval]]:
    """The measure that decides, with every policy's gain: the metric, unless only predictions' worth surely gains.

    A metric of order, such as ROC AUC, stays where all scores rise together; decisions at a threshold do not.
    """
    worths = {one.name: one.worth[1] for one in result.policies if one.worth is not None}
    if result.worth and not result.policy("nightly").gain.low > 0 and worths["nightly"].low > 0:
        return result.worth, worths
    return result.metric, {one.name: one.gain for one in result.policies}


def render_section(spec: ModelSpec, policy: str | None) -> str:
    """`schedule:` and `monitoring:` as YAML: what the spec sets already, with what the policy changes.

    Raises:
        ValueError: the spec would not be valid with it.
    """
    kinds = ADAPTIVE.get(policy or "", frozenset())
    schedule = spec.schedule.model_dump(mode="json", exclude_unset=True)
    schedule["train"] = _cron(policy)
    monitoring = spec.monitoring.model_dump(mode="json", exclude_unset=True)
    acts = {kind: "retrain" if kind in kinds else "alert" for kind in ("performance", "drift", "estimate")}
    monitoring["policy"] = {**monitoring.get("policy", {}), **acts}
    section = {"schedule": schedule, "monitoring": monitoring}
    merge_section(spec, text := yaml.safe_dump(section, sort_keys=False, default_flow_style=False))
    return text


def merge_section(spec: ModelSpec, section: str) -> ModelSpec:
    """The spec with a section in place of its own.

    Raises:
        ValueError: it is not valid.
    """
    return ModelSpec.model_validate({**spec.model_dump(mode="json", exclude_unset=True), **yaml.safe_load(section)})


def _cron(policy: str | None) -> str | None:
    """When a policy trains; adaptive ones only on request."""
    minute, hour, *_ = NIGHTLY.split()
    known = {"nightly": NIGHTLY, "weekly": f"{minute} {hour} * * 1", "monthly": f"{minute} {hour} 1 * *"}
    if policy in known:
        return known[policy]
    if policy is None or policy in ADAPTIVE or policy == "never":
        return None
    days = int(policy[:-1])
    # Cron counts days within a month only.
    return f"{minute} {hour} */{days} * *" if days < 28 else known["monthly"]


def head_of(result: Backtest) -> tuple[str, ...]:
    """Names of the table's columns; two more where a prediction's value is stated."""
    return (*_COLUMNS, result.worth, "its gain over never") if result.worth else _COLUMNS


def tabulate(result: Backtest) -> list[tuple[str, ...]]:
    """A row for each policy, under `head_of`."""
    return [_row(one, result.policy("nightly")) for one in result.policies]


def to_markdown(result: Backtest, found: Recommendation) -> str:
    """The report as Markdown."""
    lines = [
        f"# Backtest of {result.key}: {result.days[0]} to {result.days[-1]}", "", found.reason, "",
        _describe(result), "", f"| {' | '.join(head_of(result))} |", "|" + "---|" * len(head_of(result)),
        *(f"| {' | '.join(row)} |" for row in tabulate(result)), "", "```yaml", found.section.rstrip(), "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def to_json(result: Backtest, found: Recommendation) -> str:
    """The report as JSON, with every number and the table's names."""
    return json.dumps({**result.to_dict(), "recommendation": asdict(found)}, indent=1)


def to_page(result: Backtest, found: Recommendation) -> str:
    """The report as one page of HTML without scripts, the plot in it."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in head_of(result))
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in tabulate(result))
    title = html.escape(f"Backtest of {result.key}: {result.days[0]} to {result.days[-1]}")
    drawn = draw(result, "svg").decode()
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"</head><body><h1>{title}</h1><p>{html.escape(found.reason)}</p><table><tr>{head}</tr>{rows}</table>"
        f"<p>{html.escape(_describe(result))}</p>{drawn[drawn.index('<svg') :]}"
        f"<h2>For model.yaml</h2><pre>{html.escape(found.section)}</pre></body></html>"
    )


def store_report(settings: Settings, result: Backtest, found: Recommendation) -> str:
    """Keep page, numbers, plot and Markdown beside the validations, whose pages Airflow serves.

    Returns:
        The folder's path in the store.
    """
    content = to_json(result, found)
    name = hashlib.sha256(content.encode()).hexdigest()[:12]
    folder = f"validation/{result.key.model}/backtest/{result.days[0]}_{result.days[-1]}/{name}"
    files = {
        "results.json": content.encode(), "report.md": to_markdown(result, found).encode(),
        "plot.png": draw(result, "png"), "index.html": to_page(result, found).encode(),
    }  # fmt: skip
    blobs = open_blobs(settings)
    for file, data in files.items():
        blobs.put(f"{folder}/{file}", data)
    blobs.put(newest_path(result.key.model), folder.encode())
    return folder


def draw(result: Backtest, kind: Literal["png", "svg"]) -> bytes:
    """The metric of each week with its interval under every policy, and when each fitted."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Ids in the file depend on its content only.
    with mpl.rc_context({"svg.hashsalt": "backtest"}):
        figure: Figure = Figure(figsize=(10, 5.4), dpi=110, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        for axes in (upper, lower):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
        _draw_weeks(upper, result)
        _draw_fits(lower, result)
        content = io.BytesIO()
        # No date in the file: the same backtest gives the same bytes.
        figure.savefig(content, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return content.getvalue()


def _draw_weeks(axes: Axes, result: Backtest) -> None:
    at = np.arange(len(result.policies[0].weeks)) * 7 + 3
    for one, ink in zip(result.policies, _inks(result), strict=True):
        values = [week.value for week in one.weeks]
        is_bound = one.name in {"never", "nightly"}
        axes.plot(at, values, color=ink, linewidth=2 if is_bound else 1.2, label=one.name, marker="o", markersize=2.5)
        if is_bound:
            low, high = [week.low for week in one.weeks], [week.high for week in one.weeks]
            axes.fill_between(at, low, high, color=ink, alpha=0.15, linewidth=0)
    axes.set_title(f"{result.key}: {result.metric} of each week under each policy", loc="left", fontsize=10)
    axes.set_ylabel(result.metric, fontsize=8)
    axes.legend(fontsize=8, frameon=False, ncols=3)


def _draw_fits(axes: Axes, result: Backtest) -> None:
    position = {day: number for number, day in enumerate(result.days)}
    asked = [[0, *(position[day] for day in one.asked)] for one in result.policies]
    axes.eventplot(asked, colors=_inks(result), linelengths=0.7, linewidths=1.2)
    axes.set_yticks(range(len(result.policies)), [one.name for one in result.policies], fontsize=8)
    axes.invert_yaxis()
    ticks = np.linspace(0, len(result.days) - 1, min(8, len(result.days))).astype(int)
    axes.set_xticks(ticks, [result.days[tick] for tick in ticks], fontsize=8)
    axes.set_xlabel("mornings on which a fit was asked for", fontsize=8)


def _inks(result: Backtest) -> list[str]:
    others = [one.name for one in result.policies if one.name != "never"]
    return [_MUTED if one.name == "never" else _INK[others.index(one.name) % len(_INK)] for one in result.policies]


def _row(one: PolicyResult, nightly: PolicyResult) -> tuple[str, ...]:
    kept = f"{one.gain.value / nightly.gain.value:.0%}" if nightly.gain.value > 0 else ""
    counts = (one.refused, one.alarms, one.escalations, one.harmed_days, one.missed_days)
    return (
        one.name, str(one.mean), f"{one.pooled:.4f}", str(one.gain), kept, f"{one.fits}", f"{one.fit_seconds:.0f}",
        *(str(count) for count in counts), *(str(each) for each in one.worth or ()),
    )  # fmt: skip


def _describe(result: Backtest) -> str:
    params = ", ".join(f"{name}={value}" for name, value in result.candidate.params.items()) or "its own parameters"
    return (
        f"{result.metric} of {result.rows:,} rows on {len(result.days)} days; {result.candidate.name} with {params}. "
        f"{result.fitted} fits and {result.scored:,} scored days served all policies. Refused: fits that were worse "
        "than the champion on their own test rows. People: days on which a retraining had not helped. Harmed: days at "
        "whose end the last 28 were surely worse than nightly's by more than the margin; missed: those of them for "
        "which no fit was asked."
    )
