"""The examples, run: one chat loop on three backends, and an app that swaps while it serves."""

import asyncio
import contextlib
import importlib.util
import sys
from pathlib import Path

import httpx
import pytest

from memxfer.emulation import serve_in_thread
from memxfer_mem0_platform.emulator import Mem0PlatformEmulator
from memxfer_synap.emulator import SynapEmulator
from memxfer_zep.emulator import ZepEmulator

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
EMULATORS = {"MEM0": Mem0PlatformEmulator, "ZEP": ZepEmulator, "SYNAP": SynapEmulator}


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Load an example, with all three backends on this machine."""
    with contextlib.ExitStack() as running:
        for name, kind in EMULATORS.items():
            emulator = kind()
            running.callback(emulator.close)
            server = running.enter_context(serve_in_thread(emulator))
            monkeypatch.setenv(f"{name}_URL", server.base_url)
            monkeypatch.setenv(f"{name}_API_KEY", emulator.api_key)
        monkeypatch.chdir(tmp_path)

        def load(name):
            spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
            return module

        yield load


@pytest.mark.parametrize("backend", ["mem0", "zep", "synap"])
def test_one_chat_loop_runs_on_each_backend_by_configuration_alone(example, monkeypatch, capsys, backend):
    monkeypatch.setenv("MEMORY", backend)

    asyncio.run(example("chat_loop").main())

    assert len(capsys.readouterr().out.splitlines()) == 2


def test_an_app_swaps_its_memory_while_it_serves(example):
    example("chat_loop")
    module = example("swapping_app")

    async def talk():
        async with module.lifespan(module.app):
            transport = httpx.ASGITransport(module.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                answers = []

                async def user(name):
                    for number in range(6):
                        answer = await client.post(f"/chat/{name}", params={"question": f"tea {number}?"})
                        answers.append(answer.raise_for_status().json())

                async def admin():
                    for name in ("synap", "mem0", "zep"):
                        await asyncio.sleep(0.05)
                        await client.post(f"/admin/memory/{name}")
                    refused = await client.post("/admin/memory/nobody")
                    return refused.status_code

                *_, status = await asyncio.gather(*(user(f"user{n}") for n in range(5)), admin())
            return answers, status

    answers, status = asyncio.run(talk())

    assert status == 409
    assert len(answers) == 30
    assert len({(answer["turn"]) for answer in answers}) == 30
