"""Pointing memxfer at an app's Mem0: files, fields, paths, locks, and what goes wrong with them."""

import json
import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from memxfer.spi import ConfigError, Role
from memxfer_mem0 import Mem0OssConfig, Mem0OssProvider
from memxfer_mem0.application import load_application

pytestmark = pytest.mark.anyio


def settings(**fields):
    return Mem0OssConfig.model_validate({"provider": "mem0-oss", **fields})


def load(memory):
    return load_application(settings(memory=memory))


# -- the dict ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["json", "yaml", "yml"])
async def test_the_dict_is_read_from_json_and_yaml(qdrant_app, tmp_path, ending):
    yaml = pytest.importorskip("yaml")
    with qdrant_app.library() as library:
        row_id = library.add("text")
    file = tmp_path / f"app.{ending}"
    file.write_text(json.dumps(qdrant_app.config) if ending == "json" else yaml.safe_dump(qdrant_app.config))

    provider = Mem0OssProvider(settings(config_file=str(file)))
    await provider.connect(Role.SOURCE)
    record = await provider.get(row_id)
    await provider.aclose()

    assert record.content == "text"


def test_paths_in_a_file_count_from_the_file_then_from_the_working_folder(tmp_path, monkeypatch):
    apart = tmp_path / "apart"
    (apart / "store").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    file = apart / "app.json"
    file.write_text(
        json.dumps({"vector_store": {"config": {"path": "store"}}, "history_db_path": "here/history.db"})
    )
    (tmp_path / "here" / "history.db").touch()
    monkeypatch.chdir(tmp_path)

    application = load_application(settings(config_file=str(file)))

    assert application.store.path == str(apart / "store")
    assert application.history == tmp_path / "here" / "history.db"


def test_the_dict_may_be_written_in_the_connection_itself():
    application = load({"vector_store": {"provider": "chroma", "config": {"path": "/srv/chroma"}}})

    assert (application.store.kind, application.store.path) == ("chroma", "/srv/chroma")


def test_a_location_is_the_apps_file():
    assert Mem0OssProvider.from_location("app.json") == {"config_file": "app.json"}


def test_exactly_one_description_is_wanted():
    for fields in ({}, {"config_file": "app.json", "memory": {}}):
        with pytest.raises(ValidationError, match="either config_file or memory"):
            settings(**fields)


@pytest.mark.parametrize(
    ("memory", "named"),
    [
        ({"vector_stores": {}}, "vector_stores: no field of that name; did you mean vector_store"),
        ({"histroy_db_path": "h"}, "histroy_db_path: no field of that name; did you mean history_db_path"),
        ({"Vector_Store": {}}, "Vector_Store: no field of that name; did you mean vector_store"),
        ({"vector_store": {"provider": "qdrnt"}}, "'qdrnt'; did you mean qdrant.*known: azure_ai_search"),
        ({"vector_store": {"provider": "Qdrant"}}, "'Qdrant'; did you mean qdrant"),
        ({"vector_store": {"provider": "papyrus"}}, r"'papyrus'; known: .*weaviate"),
        ({"vector_store": []}, "vector_store"),
        ({"vector_store": {"provider": 3}}, "vector_store.provider"),
        (
            {"vector_store": {"config": {"on_disc": True}}},
            "vector_store.config.on_disc: no field of that name",
        ),
        ({"vector_store": {"config": {"port": "hunter2"}}}, "vector_store.config.port"),
        ({"vector_store": {"config": {"client": "hunter2"}}}, "vector_store.config.client: .*open client"),
        ({"history_db_path": 7}, "history_db_path"),
        (
            {"vector_store": {"config": {"collection_name": "memories_entities"}}},
            "collection_name: .*derives",
        ),
        ({"vector_store": {"config": {"collection_name": "mem0migrations"}}}, "collection_name: .*derives"),
    ],
)
def test_a_wrong_field_is_named_with_its_file_and_without_its_value(tmp_path, memory, named):
    file = tmp_path / "app.json"
    file.write_text(json.dumps(memory))

    with pytest.raises(ConfigError, match=rf"app\.json: .*{named}") as caught:
        load_application(settings(config_file=str(file)))

    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None


def test_fields_that_mem0_ignores_and_what_stays_behind_are_said():
    """`rerank` and `enable_graph` stand on Mem0's own pages."""
    app = load_application(
        settings(
            memory={
                "vector_store": {"provider": "chroma", "config": {"path": "/data/chroma"}},
                "rerank": {"provider": "cohere"},
                "enable_graph": False,
                "graph_store": {"provider": "neo4j", "config": {"password": "hunter2"}},
                "team": "memory",
            }
        )
    )
    assert [warning.partition(" (")[0] for warning in app.warnings] == [
        "not read: graph_store",
        "not read: rerank",
        "not read: enable_graph, team",
    ]
    assert "hunter2" not in str(app.warnings)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("app.json", "{,", "not JSON at line 1"),
        ("app.yaml", "a: [", "not YAML at line"),
        ("app.json", "[1]", "must be a table of fields"),
    ],
)
def test_a_file_that_is_no_dict_is_refused(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)

    with pytest.raises(ConfigError, match=reason):
        load_application(settings(config_file=str(tmp_path / name)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"config_file .*nowhere\.json cannot be read: No such file"):
        load_application(settings(config_file=str(tmp_path / "nowhere.json")))


def test_secrets_of_the_app_are_never_shown(qdrant_app):
    config = qdrant_app.settings()
    fields = {"user": "u", "password": "hunter2", "host": "h", "port": 1}
    application = load(
        {
            "vector_store": {"provider": "pgvector", "config": fields},
            "embedder": {"config": {"api_key": "hunter2"}},
        }
    )

    assert "unused-secret-key" not in repr(config) + str(config)
    assert "hunter2" not in repr(application)


def test_mem0s_own_defaults_are_taken_and_pointed_out():
    application = load({})

    assert (application.store.kind, application.store.collection_name) == ("qdrant", "mem0")
    assert application.store.path == "/tmp/qdrant"
    assert application.history.name == "history.db"


def test_the_default_history_is_the_apps_and_not_in_our_private_folder():
    code = (
        "from memxfer_mem0.application import load_application\n"
        "from memxfer_mem0.config import Mem0OssConfig\n"
        "from memxfer_mem0.sdk import import_mem0\n"
        "import_mem0('mem0')\n"
        "print(load_application(Mem0OssConfig(provider='x', memory={})).history)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MEM0_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "HOME": "/h"},
    )

    assert done.stdout.strip() == "/h/.mem0/history.db"
