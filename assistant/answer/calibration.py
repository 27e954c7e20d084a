"""From which log odds on is a paper asked? Thresholds of the probe, and how they are fitted.

Fitting is pure. What was fitted is kept with the index, for the model it was fitted for.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.types import Done, Event, Probed

logger = logging.getLogger(__name__)

FILE_NAME = "calibration.json"
FEWEST = 5
"""Questions of each sort, answerable and not, below which a threshold is not fitted."""


class Thresholds(BaseModel):
    """Log odds of yes against no, from the probe, under which a paper is not asked to answer.

    The defaults were measured on the development questions, see docs/engine.md.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    probe_at_least: float = -0.4
    probe_if_doubtful: float = 0.5
    """For a question that names something the paper does not have, such as a benchmark, or that
    asks for several papers while none stands out."""

    probe_if_several: float = -1.0
    """For papers that stand out together, where several are asked for. It is not fitted."""

    lead_if_low: float = 1.5
    """Over the second best paper's probe: from it on a low probe suffices, as long as nothing is
    doubtful. Some questions are put so that no paper gets a high one. It is not fitted."""

    def let_pass(
        self, probe: float, *, doubtful: bool, several: bool = False, lead: float = 0.0
    ) -> bool:
        """Whether a paper is asked to answer."""
        if several:
            return probe >= self.probe_if_several
        if not doubtful and lead >= self.lead_if_low:
            return True
        return probe >= (self.probe_if_doubtful if doubtful else self.probe_at_least)


NO_GATE = Thresholds(probe_at_least=float("-inf"), probe_if_doubtful=float("-inf"))
"""Every paper is asked: what happens then is what thresholds are fitted on."""


class Calibration(Thresholds):
    """Thresholds as they are kept, and what they were fitted on."""

    model: str
    questions: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One question, asked without a gate."""

    answerable: bool
    probe: float
    """Of the paper that comes first."""
    doubtful: bool
    supported: bool
    """Something of what the model wrote could be verified."""


def sampled(events: Iterable[Event], *, answerable: bool) -> Sample | None:
    """What a question that was asked without a gate says; None if no paper was probed."""
    probe: Probed | None = None
    for event in events:
        if isinstance(event, Probed) and (probe is None or event.score > probe.score):
            probe = event
        if isinstance(event, Done) and probe is not None:
            supported = event.answer.status == "answered"
            return Sample(answerable, probe.score, probe.doubtful, supported)
    return None


def kept(index: Path, model: str) -> Thresholds:
    """The thresholds that are kept with an index for a model; else the defaults."""
    path = index / FILE_NAME
    try:
        calibration = Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Thresholds()
    except (OSError, ValidationError) as error:
        logger.warning("%s is passed over: %s", path, error)
        return Thresholds()
    return calibration if calibration.model == model else Thresholds()


def keep(thresholds: Thresholds, index: Path, *, model: str, questions: int) -> Path:
    """Keep thresholds with an index; returns the file."""
    path = index / FILE_NAME
    values = thresholds.model_dump(include=set(Thresholds.model_fields))
    calibration = Calibration(**values, model=model, questions=questions)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(calibration.model_dump_json(indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def shares(samples: Sequence[Sample], thresholds: Thresholds) -> tuple[float, float]:
    """Answerable questions that are declined, and unanswerable ones that are, as shares."""
    declined = [
        not (each.supported and thresholds.let_pass(each.probe, doubtful=each.doubtful))
        for each in samples
    ]
    return tuple(
        sum(d for d, each in zip(declined, samples, strict=True) if each.answerable == answerable)
        / max(1, sum(each.answerable == answerable for each in samples))
        for answerable in (True, False)
    )  # type: ignore[return-value]


def fit(samples: Sequence[Sample]) -> Thresholds:
    """The thresholds with the largest difference of the two shares.

    Of equally good ones the middle is taken. Doubtful questions and others are fitted
    apart; where there are too few of a sort, the default stays.
    """
    default = Thresholds()
    return Thresholds(
        probe_at_least=_best(samples, default.probe_at_least, doubtful=False),
        probe_if_doubtful=_best(samples, default.probe_if_doubtful, doubtful=True),
    )


def _best(samples: Sequence[Sample], default: float, *, doubtful: bool) -> float:
    group = [each for each in samples if each.doubtful == doubtful]
    sorts = [sum(each.answerable == sort for each in group) for sort in (True, False)]
    if min(sorts) < FEWEST:
        return default
    # What is not supported is declined anyway; it does not matter where its probe lies.
    probes = sorted({each.probe for each in group if each.supported})
    if not probes:
        return default
    between = [(a + b) / 2 for a, b in itertools.pairwise(probes)]
    candidates = [min(default, probes[0]), *between, max(default, math.nextafter(probes[-1], 9e9))]

    def gain(threshold: float) -> float:
        thresholds = Thresholds(probe_at_least=threshold, probe_if_doubtful=threshold)
        declined, abstained = shares(group, thresholds)
        return abstained * sorts[1] / unanswerable - declined * sorts[0] / answerable

    answerable = sum(each.answerable for each in samples)
    unanswerable = len(samples) - answerable
    gains = [round(gain(each), 9) for each in candidates]
    best = [each for each, value in zip(candidates, gains, strict=True) if value == max(gains)]
    return best[len(best) // 2]
