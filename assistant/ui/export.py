"""Answers to take along: Markdown, HTML, LaTeX and CSL-JSON, each one self-contained file.

Pure: turns in, text out. References are made from the records of the papers; everything that comes
from papers, questions and the model is escaped for the format that it goes into.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from assistant.escaping import markdown_line, plain_line
from assistant.streaming.turn import Turn
from assistant.types import Citation, Sentence
from assistant.ui.formulas import typeset
from assistant.ui.references import citation_keys, references
from vectorstore import Paper

_MARKER = re.compile(r"\s*\[(\d+)\]")
_UNSAFE_NAME = re.compile(r"[^\w\- ]+")
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "#": r"\#", "%": r"\%", "&": r"\&",
    "_": r"\_", "$": r"\$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip
_SPECIAL = re.compile("[" + re.escape("".join(_LATEX)) + "]")


class File(NamedTuple):
    """What a browser is to save."""

    name: str
    content: str
    media_type: str


class _Said(NamedTuple):
    """A sentence, and the citations at its end."""

    text: str
    citations: tuple[Citation, ...]


def exported(title: str, turns: Sequence[Turn], form: str) -> File:
    """Write a conversation, or a single turn of it.

    Args:
        title: Stands above it, and names the file.
        turns: Finished turns, oldest first; those that failed are left out.
        form: One of ``FORMATS``.

    Raises:
        KeyError: There is no such format.
    """
    ending, media_type, write = FORMATS[form]
    answered = [turn for turn in turns if turn.outcome in ("done", "stopped")]
    name = " ".join(_UNSAFE_NAME.sub(" ", plain_line(title)).split())[:60].strip() or "answer"
    return File(f"{name}{ending}", write(title, answered), media_type)


def cited_papers(turns: Sequence[Turn]) -> tuple[Paper, ...]:
    """The papers that the answers cite, each once, in the order of their citations."""
    cited: dict[str, Paper] = {}
    for turn in turns:
        known = {paper.id: paper for paper in turn.papers}
        for sentence in turn.sentences:
            for citation in sentence.citations:
                if citation.paper_id in known:
                    cited.setdefault(citation.paper_id, known[citation.paper_id])
    return tuple(cited.values())


def markdown(title: str, turns: Sequence[Turn]) -> str:
    """Markdown with numbered references and the quotations below."""
    papers = cited_papers(turns)
    number = _numbers(papers)
    parts = [f"# {markdown_line(title)}"]
    for turn in turns:
        parts.append(f"## {markdown_line(turn.question)}")
        if turn.standalone_question and turn.standalone_question != turn.question:
            parts.append(f"*understood as: {markdown_line(turn.standalone_question)}*")
        parts += [markdown_line(text) for text in _beside(turn)]
        for said in _said(turn):
            marks = "".join(f"[{number[each]}]" for each in _cited(said, number))
            parts.append(f"{markdown_line(said.text)} {marks}".strip())
        parts += [
            f"> [{number[c.paper_id]}] “{markdown_line(c.quote)}”"
            for c in _quotations(turn)
            if c.paper_id in number
        ]
    if papers:
        parts.append("## References")
        parts.append("\n".join(f"{i}. {_markdown_entry(p)}" for i, p in enumerate(papers, 1)))
    return "\n\n".join(parts) + "\n"


def web_page(title: str, turns: Sequence[Turn]) -> str:
    """One HTML file that needs nothing else and runs nothing."""
    papers = cited_papers(turns)
    number = _numbers(papers)
    body = []
    for turn in turns:
        body.append(f"<h2>{html.escape(turn.question)}</h2>")
        if turn.standalone_question and turn.standalone_question != turn.question:
            body.append(f"<p><em>understood as: {html.escape(turn.standalone_question)}</em></p>")
        body += [f"<p>{html.escape(text)}</p>" for text in _beside(turn)]
        for said in _said(turn):
            marks = "".join(
                f'<a href="#paper-{number[each]}">[{number[each]}]</a>'
                for each in _cited(said, number)
            )
            body.append(f"<p>{typeset(said.text)} {marks}</p>")
        body += [
            f"<blockquote>[{number[c.paper_id]}] <q>{typeset(c.quote)}</q></blockquote>"
            for c in _quotations(turn)
            if c.paper_id in number
        ]
    entries = "".join(f'<li id="paper-{i}">{_html_entry(p)}</li>' for i, p in enumerate(papers, 1))
    listed = f"<h2>References</h2><ol>{entries}</ol>" if entries else ""
    return _PAGE.format(title=html.escape(title), body="".join(body) + listed)


def latex(title: str, turns: Sequence[Turn]) -> str:
    """A LaTeX document that writes its own BibTeX file, and compiles as it is."""
    papers = cited_papers(turns)
    keys = citation_keys(papers)
    body = []
    for turn in turns:
        body.append(f"\\section*{{{latex_text(turn.question)}}}")
        body += [latex_text(text) for text in _beside(turn)]
        for said in _said(turn):
            cited = ",".join(keys[each] for each in _cited(said, keys))
            body.append(latex_text(said.text) + (f"~\\cite{{{cited}}}" if cited else ""))
        body += [
            f"\\begin{{quote}}``{latex_text(c.quote)}''~\\cite{{{keys[c.paper_id]}}}\\end{{quote}}"
            for c in _quotations(turn)
            if c.paper_id in keys
        ]
    bibliography = ("\\bibliographystyle{plainurl}\n\\bibliography{references}",) if papers else ()
    return "\n".join(
        [
            "\\begin{filecontents}[overwrite]{references.bib}",
            references(papers, "bibtex"),
            "\\end{filecontents}",
            "\\documentclass{article}",
            "\\usepackage[utf8]{inputenc}",
            "\\usepackage[T1]{fontenc}",
            "\\usepackage{url}",
            "\\begin{document}",
            "\n\n".join(
                [f"\\title{{{latex_text(title)}}}\\date{{}}\\maketitle", *body, *bibliography]
            ),
            "\\end{document}",
            "",
        ]
    )


def csl_json(_title: str, turns: Sequence[Turn]) -> str:
    """The cited papers, for a reference manager."""
    return references(cited_papers(turns), "csl-json")


def bibtex(_title: str, turns: Sequence[Turn]) -> str:
    """The cited papers as BibTeX."""
    return references(cited_papers(turns), "bibtex")


FORMATS: Mapping[str, tuple[str, str, Callable[[str, Sequence[Turn]], str]]] = {
    "markdown": (".md", "text/markdown", markdown),
    "html": (".html", "text/html", web_page),
    "latex": (".tex", "application/x-tex", latex),
    "bibtex": (".bib", "application/x-bibtex", bibtex),
    "csl-json": (".json", "application/json", csl_json),
}
"""Ending, media type and writer, by name."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="content-security-policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<style>
body {{ max-width: 42rem; margin: 3rem auto; padding: 0 1rem; font: 1.05rem/1.65 serif;
  overflow-wrap: anywhere; color-scheme: light dark; }}
h1, h2 {{ line-height: 1.3; }} blockquote {{ margin: 0.8rem 0 0.8rem 1.2rem; opacity: 0.8; }}
</style></head><body><h1>{title}</h1>{body}</body></html>
"""


def latex_text(text: str) -> str:
    """The text as LaTeX prints it unchanged: nothing in it is a command, a comment or a formula."""
    return _SPECIAL.sub(lambda match: _LATEX[match[0]], plain_line(text))


def _numbers(papers: Sequence[Paper]) -> dict[str, int]:
    return {paper.id: position for position, paper in enumerate(papers, start=1)}


def _cited(said: _Said, known: Mapping[str, object]) -> list[str]:
    return list(dict.fromkeys(c.paper_id for c in said.citations if c.paper_id in known))


def _said(turn: Turn) -> list[_Said]:
    return [_Said(_without_markers(each), each.citations) for each in turn.sentences]


def _without_markers(sentence: Sentence) -> str:
    numbers = {citation.number for citation in sentence.citations}
    return _MARKER.sub(lambda m: "" if int(m[1]) in numbers else m[0], sentence.text)


def _beside(turn: Turn) -> list[str]:
    """What an answer says besides its sentences."""
    if turn.answer is None:
        return ["Stopped before its end."]
    if not turn.abstained:
        return [turn.answer.lead] if turn.answer.lead else []
    return [turn.answer.text]


def _quotations(turn: Turn) -> list[Citation]:
    """Of sentences that are not quotations themselves, each once."""
    found = {
        (c.paper_id, c.start, c.end): c
        for sentence in turn.sentences
        if not sentence.verbatim
        for c in sentence.citations
    }
    return list(found.values())


def _facts(paper: Paper) -> list[str]:
    year = str(paper.year) if paper.year is not None else ""
    return [fact for fact in (", ".join(paper.authors), paper.venue or "", year) if fact]


def _markdown_entry(paper: Paper) -> str:
    facts = [markdown_line(paper.title), *map(markdown_line, _facts(paper))]
    return ". ".join(facts) + (f". <{paper.url}>" if _is_web(paper.url) else "")


def _html_entry(paper: Paper) -> str:
    facts = ". ".join(html.escape(fact) for fact in (paper.title, *_facts(paper)))
    if not _is_web(paper.url):
        return facts
    address = html.escape(paper.url or "")
    return f'{facts}. <a href="{address}" rel="noreferrer">{address}</a>'


def _is_web(url: str | None) -> bool:
    return bool(url and re.fullmatch(r"https?://[^\s<>\"]+", url))
