"""Every claim of the provider, tried on each of the four stores."""

from dataclasses import replace

import msgspec
import pytest

from memxfer.testing import ProviderConformance
from memxfer_mem0 import Mem0OssProvider


class TestMem0Oss(ProviderConformance):
    @pytest.fixture
    def provider_factory(self, app):
        app.make()  # what is read has to be there
        config = app.settings(embedder="local")
        return lambda: Mem0OssProvider(config)

    @pytest.fixture
    def unreachable_provider(self, app):
        if app.kind != "pgvector":
            return None
        app.fields["connection_string"] = "postgresql://u:p@127.0.0.1:9/d"
        return app.provider()

    def bad_document(self, document):
        """An id that only Qdrant and Postgres refuse; Chroma and FAISS take any text."""
        row = replace(document.body.row, id="no uuid")
        body = replace(document.body, row=row)
        return msgspec.structs.replace(document, body=body) if self.is_strict else None

    @pytest.fixture(autouse=True)
    def _strictness(self, app):
        self.is_strict = app.kind in ("qdrant", "pgvector")
