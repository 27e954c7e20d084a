"""What an ingest reads, beside what there is: new, changed, unchanged, duplicate.

Knows the records alone; what is found is written by ``writing``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence

from vectorstore.edits import with_edits_of
from vectorstore.index.records import Record, Records
from vectorstore.sources.duplicates import IndexedDuplicate, Key, is_newer, key_digest, keys
from vectorstore.types import Paper

logger = logging.getLogger(__name__)

OnDuplicate = Callable[[IndexedDuplicate], None]


class Arrivals:
    """The papers of one stream, compared with the records a batch at a time."""

    def __init__(
        self, records: Records, *, keep_edits: bool, on_duplicate: OnDuplicate | None
    ) -> None:
        """Begin a stream.

        Args:
            records: Of the index.
            keep_edits: Leave the fields that were edited by hand as they are (see ``edits``).
            on_duplicate: Told of each paper that is in the index under another id; without it,
                nobody looks.
        """
        self._records = records
        self._keep_edits = keep_edits
        self._on_duplicate = on_duplicate
        self.counts: Counter[str] = Counter()
        """Papers "added", "updated", "unchanged" and "edited" (kept as edited)."""
        self.has_read = False
        """Whether the stream had any paper so far."""
        records.forget_seen()

    def changed(self, batch: Sequence[Paper]) -> tuple[list[Paper], list[str]]:
        """Return the papers that are to be written, and count them and the others.

        Returns:
            Papers that differ from their records, and the ids of those that have to go before,
            since a later version of them is among these.
        """
        self.has_read = self.has_read or bool(batch)
        fresh = self._first_of_each_id(batch)
        known = self._records.entries([paper.id for paper in fresh])
        older: dict[str, Record] = {}
        if self._on_duplicate is not None:
            fresh, older = self._without_duplicates(fresh, known, self._on_duplicate)

        def differing(papers: Sequence[Paper]) -> list[Paper]:
            return [
                p for p in papers if p.id not in known or known[p.id].fingerprint != p.fingerprint
            ]

        changed = differing(fresh)
        if self._keep_edits:
            before = self._records.get([paper.id for paper in changed if paper.id in known]) | older
            kept = [with_edits_of(before[p.id].paper, p) if p.id in before else p for p in changed]
            self.counts["edited"] += sum(a != b for a, b in zip(changed, kept, strict=True))
            changed = differing(kept)
        updated = sum(paper.id in known or paper.id in older for paper in changed)
        self.counts["added"] += len(changed) - updated
        self.counts["updated"] += updated
        self.counts["unchanged"] += len(fresh) - len(changed)
        return changed, [old.paper.id for old in older.values()]

    def removable(self) -> int:
        """Return the number of papers in the index that the stream lacks under whatever id."""
        staying = self.counts["updated"] + self.counts["unchanged"] + self._records.kept()
        return len(self._records) - staying

    def _first_of_each_id(self, batch: Sequence[Paper]) -> list[Paper]:
        unseen = self._records.see([paper.id for paper in batch])
        fresh = []
        for paper in batch:
            if paper.id in unseen:
                unseen.remove(paper.id)
                fresh.append(paper)
            else:
                logger.warning("two papers have the id %s; the first one counts", paper.id)
        return fresh

    def _without_duplicates(
        self, papers: Sequence[Paper], known: Container[str], on_duplicate: OnDuplicate
    ) -> tuple[list[Paper], dict[str, Record]]:
        """Return the papers that are in the index under no other id, or are a later version.

        Returns:
            These papers, and the records that later versions replace, by the id of the new one.
        """
        own = {p.id: {key_digest(key.value): key for key in keys(p)} for p in papers}
        sought = [value for p in papers if p.id not in known for value in own[p.id]]
        sharing = self._records.sharing(sought) if sought else {}
        coming = {paper.id: paper for paper in papers if paper.id in known}
        fresh: list[Paper] = []
        older: dict[str, Record] = {}
        for paper in papers:
            found = None
            if paper.id not in known:
                found = _same_paper(own[paper.id], sharing, coming)
            if found is None:
                fresh.append(paper)
                continue
            key, record = found
            is_free = record.paper.id not in {old.paper.id for old in older.values()}
            was_seen = self._records.has_seen(record.paper.id)
            replaces = is_newer(paper, record.paper) and not was_seen and is_free
            on_duplicate(IndexedDuplicate(paper, record.paper, key.words, replaces))
            if replaces:
                older[paper.id] = record
                fresh.append(paper)
            else:
                self._records.keep(record.paper.id)
        return fresh, older


def _same_paper(
    own: Mapping[int, Key],
    sharing: Mapping[int, Sequence[Record]],
    coming: Mapping[str, Paper],
) -> tuple[Key, Record] | None:
    """Return the first key that a record shares in truth, and not by its digest alone.

    Args:
        own: Keys of a paper by digest.
        sharing: Records by digest.
        coming: Papers that are about to replace their records; their keys count.
    """
    for value, key in own.items():
        for record in sharing.get(value, ()):
            paper = coming.get(record.paper.id, record.paper)
            if any(each.value == key.value for each in keys(paper)):
                return key, record
    return None
