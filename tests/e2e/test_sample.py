"""A sample first, then everything: one job, one ledger, nothing sent twice."""

from __future__ import annotations

import pytest

ACCEPT = ("--accept-loss", "all", "--yes")


@pytest.mark.parametrize("policy", ["update", "conflict", "row_error"])
def test_a_sample_goes_on_to_everything_without_sending_the_sample_again(stage, fill, policy) -> None:
    fill(stage.folder / "source", 120)
    stage.server.admin.configure(duplicate_policy=policy)

    first_code, first, err = stage.run("migrate", "old", "new", *ACCEPT, "--sample", "20", "--job", "j")
    again_code, again, _ = stage.run("resume", "j")
    code, result, _ = stage.run("resume", "j", "--all")

    assert (first_code, again_code, code) == (0, 0, 0), err
    assert first["counts"]["listed"] == again["counts"]["listed"] == 20
    assert result["counts"]["listed"] == result["counts"]["stored"] == 120
    assert stage.truth()["received"] == 120


def test_a_finished_sample_says_that_it_is_only_a_sample(stage, fill) -> None:
    fill(stage.folder / "source", 30)

    shown = stage.start("migrate", "old", "new", *ACCEPT, "--sample", "10", "--job", "j").communicate()[0]

    assert "memxfer resume j --all" in shown
