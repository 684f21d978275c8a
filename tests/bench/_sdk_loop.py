"""The sequential loop of the vendor's own guide: read a page, send a batch, read the next."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from maximem_synap import MaximemSynapSDK, SDKConfig

from memxfer.archive import ArchiveReader
from memxfer.models import format_time

BATCH = 100


async def _send(sdk: MaximemSynapSDK, documents: list[dict[str, object]]) -> int:
    answer = await sdk.memories.batch_create(documents=documents)
    return int(answer.succeeded)


async def main(path: Path, base_url: str, key: str, count: int) -> None:
    """Move `count` records and print what it took, as JSON."""
    sdk = MaximemSynapSDK(
        api_key=key, config=SDKConfig(api_base_url=base_url, cache_backend=None, history_search_model=None)
    )
    await sdk.initialize()
    began, cpu = time.perf_counter(), time.process_time()
    sent = 0
    batch: list[dict[str, object]] = []
    for archived in ArchiveReader(path).records():
        record = archived.record
        batch.append(
            {
                "document": record.content,
                "document_id": f"loop:{record.id}",
                "document_type": "document",
                "document_created_at": format_time(record.created_at),
                "user_id": record.scope.user,
                "customer_id": "bench",
                "metadata": record.metadata,
            }
        )
        if len(batch) == BATCH:
            sent += await _send(sdk, batch)
            batch = []
        if sent >= count:
            break
    seconds = time.perf_counter() - began
    print(json.dumps({"records": sent, "seconds": seconds, "cpu": time.process_time() - cpu}))
    await sdk.shutdown()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
