"""The conformance suite over archives in a folder."""

from datetime import UTC, datetime

import pytest

from memxfer.archive import create_archive
from memxfer.testing import ProviderConformance
from memxfer_archive import ArchiveConfig, ArchiveProvider


class TestArchive(ProviderConformance):
    @pytest.fixture
    def provider_factory(self, tmp_path):
        # The suite reads before it writes, and an archive is made by its first write.
        create_archive(tmp_path / "backup", now=datetime(2026, 1, 1, tzinfo=UTC))
        config = ArchiveConfig(provider="archive", path=tmp_path / "backup")
        return lambda: ArchiveProvider(config)
