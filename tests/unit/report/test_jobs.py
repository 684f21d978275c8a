import io

from rich.console import Console

from memxfer.migration.results import Counts, JobResult, JobStatus, JobSummary
from memxfer.report.jobs import jobs_view, result_view


def shown(view):
    out = io.StringIO()
    Console(file=out, width=100, markup=False, highlight=False, color_system=None).print(view)
    return out.getvalue()


def test_a_result_accounts_for_every_record():
    counts = Counts(listed=12, stored=7, failed=2, skipped=1, in_flight=2)
    text = shown(result_view(JobResult(job="j", status=JobStatus.RUNNING, counts=counts)))
    assert text.splitlines()[:2] == [
        "j: running",
        "  listed 12 = stored 7 + skipped 1 + failed 2 + in flight 2",
    ]
    assert "memxfer failures j" in text


def test_a_clean_result_points_nowhere():
    counts = Counts(listed=1, stored=1)
    text = shown(
        result_view(JobResult(job="j", status=JobStatus.COMPLETED, counts=counts, message="All there."))
    )
    assert "failures" not in text
    assert "All there." in text


def test_ignored_rows_are_told_beside_the_records_and_add_up(line):
    result = JobResult(
        job="j",
        status=JobStatus.COMPLETED,
        counts=Counts(listed=2, stored=2),
        ignored={"no_text": 1_240, "marker": 3},
        filtered=5,
        losses=(
            line(
                "ignored",
                "content",
                records=1_240,
                samples=("a", "b\x1b"),
                consequence="1,240 rows are ignored.",
            ),
        ),
    )
    lines = [one.rstrip() for one in shown(result_view(result)).splitlines()]
    assert lines[1:3] == [
        "  listed 2 = stored 2",
        "  1,250 rows = listed 2 + ignored 1,243 (no text 1,240; markers of the backend 3) + outside the",
    ]
    assert "  1,240 rows are ignored. E.g. a, b\\x1b" in lines
    assert "becomes" not in "".join(lines)


def test_speed_is_shown_once_there_is_any():
    result = JobResult(
        job="j", status=JobStatus.COMPLETED, documents=2000, resent=3, seconds=8, records_per_second=250
    )
    assert "2,000 documents acknowledged; 3 sent again; 8.0 s, 250 records/s" in shown(result_view(result))


def test_a_job_has_two_lines_and_its_id_in_one_piece():
    job = JobSummary(
        job="a-long-name-to-a-long-name-20260131-120000-x7k2",
        source="s" * 60,
        target="t" * 60,
        status=JobStatus.RUNNING,
        listed=10**8,
        stored=10**8,
        created_at="2026-01-31T12:00:00+00:00",
        running=True,
    )
    first, second = shown(jobs_view([job])).splitlines()
    assert first == f"{job.job}  running now, 100,000,000 of 100,000,000 stored"
    assert max(len(first), len(second)) <= 100
    assert second.endswith("begun 2026-01-31 12:00")
