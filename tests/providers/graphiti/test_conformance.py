"""Every claim of the provider on a real Kuzu file: written and read as facts, and as episodes."""

from typing import ClassVar

import msgspec
import pytest

from memxfer.testing import ProviderConformance


class GraphitiConformance(ProviderConformance):
    settings: ClassVar[dict[str, str]] = {}

    @pytest.fixture
    def provider_factory(self, make_graph):
        make_graph("graph.kuzu")  # the suite reads before it writes
        return lambda: make_graph("graph.kuzu", **self.settings)

    def bad_document(self, document):
        """A group that is no text for Kuzu: it fails in the middle of a transaction."""
        return msgspec.structs.replace(
            document, body=msgspec.structs.replace(document.body, group_id="\ud800")
        )


class TestFacts(GraphitiConformance):
    settings: ClassVar[dict[str, str]] = {"unit": "facts", "write": "fact"}


class TestEpisodes(GraphitiConformance):
    settings: ClassVar[dict[str, str]] = {"unit": "episodes", "write": "episode"}


class TestDefaults(GraphitiConformance):
    """What nobody decided: facts and episodes by what a record is; facts are read."""
