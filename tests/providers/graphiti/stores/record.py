"""Record `half_checkpoint.tar.xz`: a graph whose app was killed while it wrote its log into the file.

`python record.py`: kills writers until one leaves that state; it takes a few seconds.
"""

import io
import itertools
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import kuzu

WRITER = """
import sys
import kuzu
from graphiti_core.driver.kuzu_driver import SCHEMA_QUERIES
database = kuzu.Database(sys.argv[1], buffer_pool_size=64 * 2**20)
connection = kuzu.Connection(database)
connection.execute(SCHEMA_QUERIES)
connection.execute(
    "CREATE (:Entity {uuid: 'n1', group_id: 'ann', name: 'Ann'})-[:RELATES_TO]->"
    "(:RelatesToNode_ {uuid: 'e1', group_id: 'ann', name: 'LIKES', fact: 'Ann likes tea'})-[:RELATES_TO]->"
    "(:Entity {uuid: 'n2', group_id: 'ann', name: 'Tea'})"
)
connection.execute("CHECKPOINT")
print("ready", flush=True)
for number in range(1000):
    connection.execute(
        f"UNWIND range(1, 10) AS i CREATE (:Episodic {{uuid: string({number * 10} + i), group_id: 'ann', "
        "name: '', source: 'text', source_description: '', content: 'text ' + string(i)})"
    )
    connection.execute("CHECKPOINT")
"""


def left_by_a_killed_writer(folder: Path) -> bool:
    """Kill a writer at some moment; tell whether it was in the middle of a checkpoint."""
    path = folder / "graph.kuzu"
    command = [sys.executable, "-W", "ignore", "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        time.sleep(random.random() * 0.02)
        writer.kill()
    try:
        kuzu.Database(str(path), read_only=True, buffer_pool_size=64 * 2**20).close()
    except RuntimeError as error:
        return "shadow pages" in str(error)
    return False


def main() -> None:
    """Try until it is so, and pack what is there."""
    for _ in itertools.count():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if left_by_a_killed_writer(folder):
                packed = Path(__file__).with_name("half_checkpoint.tar.xz")
                with tarfile.open(packed, "w:xz") as archive:
                    for file in sorted(folder.iterdir()):
                        entry = tarfile.TarInfo(file.name)
                        entry.size = file.stat().st_size
                        archive.addfile(entry, io.BytesIO(file.read_bytes()))
                return


if __name__ == "__main__":
    main()
