"""Fit the weights of the sentence check, and print how far they carry.

``python -m benchmarks.fit_check PAPERS [PAPERS ...] [--write]`` takes JSON Lines files of papers
(`abstract` or `text`) that hold the abstracts of ``tests/quality/claims/``. The weights are
fitted to ``training_1`` and ``training_2``; the table is of ``held_out``, whose abstracts are in
neither. ``--write`` replaces ``assistant/checking/weights.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assistant.checking.alignment import PaperWords, align
from assistant.checking.defects import MEASURES, compare
from assistant.checking.words import without_answer_word
from vectorstore import normalize

CLAIMS = Path(__file__).resolve().parent.parent / "tests" / "quality" / "claims"
WEIGHTS = Path(__file__).resolve().parent.parent / "assistant" / "checking" / "weights.json"
PASSING = 0.045
"""Share of the unsupported training claims that may pass: half of what held-out ones may."""
PENALTY = 0.01
"""Strength of the L2 penalty, on measures divided by their deviation."""
RARE = {"wrong_units": -1.0}
"""Least log odds that a measure takes away whose mistake the training claims hardly have."""

Array = NDArray[np.float64]


def main(arguments: Sequence[str]) -> int:
    """Fit, print and, if asked to, write."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.fit_check")
    parser.add_argument("papers", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    abstracts = _abstracts(given.papers)
    prepared: dict[str, PaperWords] = {}
    training = [
        claim
        for name in ("training_1", "training_2")
        for claim in _claims(CLAIMS / f"{name}.jsonl", abstracts)
    ]
    sizes, labels = _measured(training, prepared)
    by_measure, base = _fitted(sizes, labels)
    scores = sizes @ by_measure + base
    cut = float(np.quantile(scores[labels == 0], 1 - PASSING))
    fitted = {
        "base": round(base, 4),
        "by_measure": {
            name: round(float(each), 4) for name, each in zip(MEASURES, by_measure, strict=True)
        },
        "support_at_least": round(1 / (1 + float(np.exp(-cut))), 4),
    }
    held_out = list(_claims(CLAIMS / "held_out.jsonl", abstracts))
    sizes, labels = _measured(held_out, prepared)
    _show(held_out, sizes @ by_measure + base > cut)
    _say(json.dumps(fitted, indent=1))
    if given.write:
        WEIGHTS.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _abstracts(files: Iterable[Path]) -> dict[str, str]:
    """Read abstracts by their first 60 characters."""
    abstracts = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            text = row.get("abstract") or row.get("text") or ""
            abstracts[text[:60]] = text
    return abstracts


def _claims(file: Path, abstracts: dict[str, str]) -> Iterable[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        claim = json.loads(line)
        if claim["abstract_begins"] in abstracts:
            yield {**claim, "abstract": abstracts[claim["abstract_begins"]]}


def _measured(
    claims: Iterable[dict[str, Any]], prepared: dict[str, PaperWords]
) -> tuple[Array, NDArray[np.int64]]:
    """Return the sizes of all measures, of shape (claims, measures), and which are supported."""
    rows, labels = [], []
    for claim in claims:
        abstract = claim["abstract"]
        if abstract not in prepared:
            prepared[abstract] = PaperWords(claim["paper"], abstract)
        paper = prepared[abstract]
        compared = compare(paper, align(paper, without_answer_word(normalize(claim["sentence"]))))
        rows.append([measure(compared).size for measure in MEASURES.values()])
        labels.append(int(claim["label"] == "supported"))
    return np.array(rows, dtype=float), np.array(labels)


def _fitted(sizes: Array, labels: NDArray[np.int64]) -> tuple[Array, float]:
    """Return the weights, none of them positive, and the base, of a logistic regression."""
    from scipy.optimize import minimize

    deviation = sizes.std(axis=0) + 1e-6
    scaled, sign = sizes / deviation, np.where(labels == 1, 1.0, -1.0)

    def loss(parameters: Array) -> tuple[float, Array]:
        weights, base = parameters[:-1], parameters[-1]
        margin = sign * (scaled @ weights + base)
        slope = -sign / (1 + np.exp(margin)) / len(sign)
        value = np.logaddexp(0, -margin).mean() + PENALTY / 2 * (weights @ weights)
        return float(value), np.append(scaled.T @ slope + PENALTY * weights, slope.sum())

    bounds = [
        (None, RARE.get(name, 0.0) * each) for name, each in zip(MEASURES, deviation, strict=True)
    ]
    start = np.append(np.full(len(bounds), -0.1), 1.0)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[*bounds, (None, None)]).x
    return found[:-1] / deviation, float(found[-1])


def _show(claims: Sequence[dict[str, Any]], shown: NDArray[np.bool_]) -> None:
    for field in ("label", "type", "collection"):
        groups = sorted({(claim["label"], claim[field]) for claim in claims})
        for label, name in groups:
            chosen = [
                bool(passes)
                for claim, passes in zip(claims, shown, strict=True)
                if (claim["label"], claim[field]) == (label, name)
            ]
            _say(f"{label:12} {name:15} {sum(chosen):4} of {len(chosen):4} shown")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
