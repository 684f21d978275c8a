"""Start-up: `memxfer --help` beside a bare Typer app with as many commands.

Runs both in turns, each in a new process, and compares medians. Bar: at most twice the bare app.
Run it with `python tests/bench/startup.py` (part of `make bench`); exit code 1 above the bar.
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 21
BAR = 2.0
COMMANDS = 15
OURS = "import sys; sys.argv = ['memxfer', '--help']; from memxfer.cli import main; main()"
BARE = f"""
import sys, typer
sys.argv = ["bare", "--help"]
app = typer.Typer(add_completion=False)
for number in range({COMMANDS}):
    @app.command(f"command{{number}}")
    def body(source: str, target: str, where: str = "", dry_run: bool = False) -> None:
        "Does something."
app()
"""


def seconds(program: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    programs = {"memxfer": OURS, "bare Typer": BARE}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            times[name].append(seconds(program))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["memxfer"] / medians["bare Typer"]
    for name, median in medians.items():
        print(f"{name + ' --help':<18} {median * 1000:6.0f} ms (median of {ROUNDS})")
    print(f"ratio {ratio:.2f}, bar {BAR:.1f}: {'ok' if ratio <= BAR else 'MISSED'}")
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
