"""Snippets of the vendor's pages that do not run with the installed SDK: each line of the README's list."""

import importlib
import importlib.metadata
import re
from pathlib import Path

import maximem_synap
import pydantic
import pytest
from maximem_synap import MaximemSynapSDK, SDKConfig

from memxfer_synap.emulator import EMULATOR_API_KEY

pytestmark = pytest.mark.anyio
README = Path(__file__).parents[3] / "providers/synap/README.md"


@pytest.fixture
def transport():
    return "sdk"


@pytest.fixture
async def sdk(synap, monkeypatch, tmp_path):
    """The SDK as the vendor's pages make it, but for its cache and retries, on the emulator."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config = SDKConfig(
        api_base_url=synap.url, cache_backend=None, retry_policy=None, history_search_model=None
    )
    made = MaximemSynapSDK(api_key=EMULATOR_API_KEY, config=config, _force_new=True)
    await made.initialize()
    yield made
    await made.shutdown()


def _document(**fields):
    return maximem_synap.CreateMemoryRequest(
        document="Ann likes tea.", user_id="ann", customer_id="acme", **fields
    )


def test_the_list_is_about_the_installed_version():
    [version] = re.findall(
        r"^## Vendor snippets that do not run with (.*)$", README.read_text(), re.MULTILINE
    )
    assert importlib.metadata.version("maximem-synap") == version


@pytest.mark.parametrize("module", ["synap", "maximem_synap.errors"])
def test_modules_that_are_not_there(module):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(module)


@pytest.mark.parametrize(
    "name", ["SynapAuthError", "SynapConflictError", "SynapNotFoundError", "SynapValidationError"]
)
def test_errors_that_have_other_names(name):
    assert not hasattr(maximem_synap, name)
    assert issubclass(maximem_synap.AuthenticationError, maximem_synap.SynapError)
    assert issubclass(maximem_synap.ConflictError, maximem_synap.SynapError)


def test_the_wait_of_a_rate_limit_has_another_name():
    error = maximem_synap.RateLimitError("slow down", retry_after_seconds=3)
    assert error.retry_after_seconds == 3
    assert not hasattr(error, "retry_after")


def test_a_priority_is_dropped_without_a_word():
    assert "priority" not in _document(priority="BOOTSTRAP").model_dump()


def test_a_note_is_no_type_of_a_document():
    with pytest.raises(pydantic.ValidationError):
        _document(document_type="note")


async def test_memories_cannot_be_listed(sdk):
    assert not hasattr(sdk.memories, "list")


async def test_a_batch_has_no_errors_but_rows_with_messages(sdk):
    answer = await sdk.memories.batch_create(documents=[_document(document_id="one")])
    assert not hasattr(answer, "errors")
    assert (answer.total, answer.succeeded, answer.failed) == (1, 1, 0)
    assert answer.results[0].error_message is None


async def test_an_id_in_the_metadata_is_not_the_key(sdk):
    answer = await sdk.memories.batch_create(documents=[_document(metadata={"document_id": "mine"})])
    assert answer.results[0].document_id != "mine"


async def test_a_document_without_a_customer_is_refused_on_a_b2b_instance(sdk):
    row = {"document": "Ann likes tea.", "document_id": "one", "user_id": "ann"}
    answer = await sdk.memories.batch_create(documents=[row])
    assert (answer.succeeded, answer.failed) == (0, 1)
    assert "customer_id" in answer.results[0].error_message


@pytest.mark.parametrize("owner", ["conversation", "user", "customer", "client"])
async def test_a_fetch_takes_no_query(sdk, owner):
    with pytest.raises(TypeError, match="query"):
        await getattr(sdk, owner).context.fetch(query="tea")


async def test_the_fetch_of_everything_takes_no_query_either(sdk):
    with pytest.raises(TypeError, match="query"):
        await sdk.fetch(query="tea")


async def test_credits_cannot_be_asked_for(sdk):
    with pytest.raises(TypeError):
        await sdk.credits.get_balance()


async def test_a_second_client_of_a_key_has_the_settings_of_the_first_one(sdk):
    first = MaximemSynapSDK(api_key="another key", config=SDKConfig(api_base_url="http://127.0.0.1:1"))
    second = MaximemSynapSDK(api_key="another key", config=SDKConfig(api_base_url="http://127.0.0.1:2"))
    assert vars(second) == vars(first)
