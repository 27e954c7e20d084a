"""``make bench``: how long answers take, beside what a user would otherwise run.

    python -m benchmarks.speed [--questions 24] [--output docs/benchmarks.md]

Each system answers the same questions in a process of its own, one after the other, so that memory
is its own and nothing runs beside it.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from assistant.llm.hardware import cpu_name
from assistant.quality import charts
from benchmarks.systems import SYSTEMS, limits

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = ROOT / "tests" / "quality" / "dev_questions.jsonl"
LIMITS = "limits"
BASELINE = "plain pipeline"
STARTS = 3
OTHERS = "# A file of questions\n"
"""In the report, the heading of what is measured elsewhere."""

Rows = list[dict[str, Any]]

console = Console(width=120)


def main(
    questions: Annotated[int, typer.Option(help="How many are asked.")] = 24,
    output: Annotated[Path, typer.Option(help="Where the report goes.")] = ROOT
    / "docs"
    / "benchmarks.md",
    only: Annotated[str | None, typer.Option(help="One system; its rows go out as JSON.")] = None,
) -> None:
    """Time the systems and write the report."""
    asked = _questions(questions)
    if only is not None:
        _run_one(only, asked)
        return
    results = {name: _in_process(name, questions) for name in (*SYSTEMS, LIMITS)}
    rates = results.pop(LIMITS)
    report = _report(results, rates, len(asked))
    chart = charts.cumulative(
        "Time to the first text",
        {name: _values(result["rows"], "first_text_seconds") for name, result in results.items()},
        "seconds",
    )
    output.with_name("first_text.svg").write_text(chart, encoding="utf-8")
    before = output.read_text(encoding="utf-8") if output.exists() else ""
    _, mark, others = before.partition(OTHERS)  # measured by other commands, and kept
    output.write_text(f"{report.rstrip()}\n\n{mark}{others}".rstrip() + "\n", encoding="utf-8")
    console.print(f"written to {output}")


def _questions(count: int) -> list[str]:
    """Questions over one paper, spread over the file."""
    lines = QUESTIONS.read_text(encoding="utf-8").splitlines()
    single = [row["question"] for row in map(json.loads, lines) if row["kind"] == "single"]
    return single[:: max(1, len(single) // count)][:count]


def _run_one(name: str, questions: Sequence[str]) -> None:
    found = limits() if name == LIMITS else [asdict(row) for row in SYSTEMS[name](questions)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write(json.dumps({"rows": found, "peak_bytes": peak}) + "\n")


def _in_process(name: str, questions: int) -> dict[str, Any]:
    console.print(f"{name} ...")
    command = [sys.executable, "-m", "benchmarks.speed", f"--questions={questions}"]
    done = subprocess.run(
        [*command, f"--only={name}"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _values(rows: Rows, field: str) -> list[float]:
    return sorted(row[field] for row in rows if row[field] is not None)


def _report(results: dict[str, dict[str, Any]], rates: dict[str, Any], count: int) -> str:
    baseline = results[BASELINE]["rows"]
    header = ["system"]
    fields = {
        "sources": "sources_seconds",
        "first text": "first_text_seconds",
        "first verified sentence": "first_sentence_seconds",
        "whole answer": "total_seconds",
    }
    for name in fields:
        header += [f"{name}, median (p95)", "of plain"]
    lines = [[*header, "peak memory"]]
    for name, result in results.items():
        line = [name]
        for label, field in fields.items():
            values = _values(result["rows"], field)
            beside = _values(baseline, "first_text_seconds" if "first" in label else field)
            line += _times(values, beside)
        lines.append([*line, f"{result['peak_bytes'] / 1e9:.2f} GB"])
    _show(lines)
    limit = rates["rows"]
    ours = results["ours, papers read before"]["rows"]
    return "\n".join(
        [
            "# Speed",
            "",
            f"{count} single development questions, default model, {cpu_name()}, "
            f"{os.cpu_count()} cores, {platform.system()}. Made by `make bench`; "
            "times in seconds, ratios to the plain pipeline in the same run (four abstracts in one "
            "prompt).",
            "",
            *_markdown(lines),
            "",
            "![Time to the first text](first_text.svg)",
            "",
            f"llama.cpp itself, same model and threads: prefill {limit['prefill']:.0f} tokens/s in "
            f"one batch of 512, decode {limit['decode']:.1f} tokens/s. {_written(ours)} "
            f"Papers read ahead: {limit['reading']:.0f} tokens/s, with writing what is kept.",
            "",
            _starts(ours[0]),
            "",
            "## Where the time goes",
            "",
            "Our answers, papers read before, mean milliseconds of a question.",
            "",
            *_markdown(_profile(ours)),
            "",
        ]
    )


def _times(values: Sequence[float], beside: Sequence[float]) -> list[str]:
    if not values:
        return ["", ""]
    median, p95 = statistics.median(values), values[min(len(values) - 1, int(0.95 * len(values)))]
    ratio = median / statistics.median(beside)
    return [f"{median:.2f} ({p95:.2f})", f"1/{1 / ratio:.1f}" if ratio < 1 else f"{ratio:.1f}"]


def _written(rows: Rows) -> str:
    tokens = sum(row["written_tokens"] for row in rows)
    seconds = sum(row["parts"]["decode"] for row in rows)
    return f"Inside our answers: decode {tokens / seconds:.1f} tokens/s."


def _starts(warm: dict[str, Any]) -> str:
    """How long a fresh process takes, everything being on disk."""
    program = str(Path(sys.executable).with_name("assistant"))

    def median(*arguments: str) -> float:
        times = []
        for _ in range(STARTS):
            started = time.perf_counter()
            subprocess.run([program, *arguments], stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    question = warm["question"]
    return (
        f"A process that is started for one question: {median('ask', question):.1f} s, the same "
        f"question in a running one {warm['total_seconds']:.1f} s. `assistant --help`: "
        f"{median('--help'):.2f} s."
    )


def _profile(rows: Rows) -> list[list[str]]:
    names = list(rows[0]["parts"])
    means = {name: statistics.fmean(row["parts"][name] for row in rows) for name in names}
    rest = statistics.fmean(row["total_seconds"] for row in rows) - sum(
        means[name] for name in names if name != "states into the cache"
    )
    lines = [["part", "ms"], *([name, f"{1000 * means[name]:.0f}"] for name in names)]
    return [*lines, ["everything else", f"{1000 * rest:.0f}"]]


def _markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    head, *body = ("| " + " | ".join(line) + " |" for line in lines)
    return [head, "| " + " | ".join("---" for _ in lines[0]) + " |", *body]


def _show(lines: Sequence[Sequence[str]]) -> None:
    table = Table(*lines[0])
    for line in lines[1:]:
        table.add_row(*line)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
