"""A live project: rows come and go while three thousand are moved, with the vendor's own client."""

from collections import Counter

import pytest

from memxfer import migration
from memxfer_memory import MemoryConfig, MemoryReferenceProvider, MemoryStore

pytestmark = pytest.mark.anyio


async def test_every_row_that_was_there_throughout_arrives_exactly_once(platform, tmp_path):
    for number in range(3_000):
        platform.put(number)
    before = {one["id"] for one in platform.truth()}
    # some fifty rows come and eighty go in the fifteen pages of the first walk
    platform.configure(inserts_between_pages=4, deletes_between_pages=6)
    target = MemoryReferenceProvider(MemoryConfig(provider="memory", store="drifted"))
    try:
        result = await migration.migrate(
            platform.provider(history=False), target, state_dir=tmp_path, options=migration.Options()
        )
        moved = Counter(row.record.id for row in MemoryStore.named("drifted").rows())
    finally:
        MemoryStore.forget("drifted")

    throughout = before & {one["id"] for one in platform.truth()}
    assert len(throughout) < 3_000
    assert throughout <= moved.keys()
    assert set(moved.values()) == {1}
    assert result.counts.failed == result.counts.uncertain == 0
    assert result.counts.listed == len(moved)
