"""Options, paired timing and the table of ratios of ``pytest bench``."""

import gc
import math
import os
import statistics
import time
from dataclasses import dataclass

import numba
import pytest

from bench import machine

#: Seconds of calls in one timed round, and of rest before either side's turn. A team of OpenMP threads spins for
#: some milliseconds after its work: the rest keeps one side's idle threads from taking the other's cores.
ROUND, REST = 0.002, 0.010

#: A figure is marked where one side's median is this much above its fastest round: the machine was not quiet.
NOISY = 1.25


@dataclass
class Figure:
    """Seconds a call in each round, of fastrecur and of its peer."""

    cell: str
    shape: tuple
    threads: int
    what: str
    error: float
    ours: list
    peer: list

    @property
    def ratio(self):
        return statistics.median(self.peer) / statistics.median(self.ours)

    @property
    def noisy(self):
        return any(statistics.median(rounds) > NOISY * min(rounds) for rounds in (self.ours, self.peer))


FIGURES, THREADS, LOAD = pytest.StashKey[list](), pytest.StashKey[list](), pytest.StashKey[str]()


def pytest_addoption(parser):
    group = parser.getgroup("fastrecur", "side-by-side measurements")
    group.addoption("--threads", default=None, metavar="N[,N...]", help="numbers of threads (default: 1,2)")
    group.addoption("--rounds", default=30, type=int, help="timed rounds of each side (default: 30)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError('The measurements need pytest-benchmark and PyTorch: pip install ".[bench]"')
    config.option.benchmark_quiet = True  # its own table has seconds of one side only
    config.stash[FIGURES] = []
    config.stash[THREADS] = _threads(config)
    config.stash[LOAD] = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _threads(config):
    given = config.getoption("threads")
    most = numba.config.NUMBA_NUM_THREADS
    if given is None:
        return [n for n in (1, 2) if n <= most]
    try:
        numbers = [int(part) for part in given.split(",")]
    except ValueError:
        raise pytest.UsageError(f"--threads takes numbers with commas between, as in 1,2; found {given!r}") from None
    if not all(1 <= n <= most for n in numbers):
        raise pytest.UsageError(f"--threads must lie between 1 and {most} on this machine, found {given!r}")
    return numbers


def pytest_generate_tests(metafunc):
    if "threads" in metafunc.fixturenames:
        metafunc.parametrize("threads", metafunc.config.stash[THREADS], ids="{}-threads".format)


@pytest.fixture
def side_by_side(request):
    """Time two functions round by round, first the peer, then ours; pytest-benchmark keeps the rounds of ours.

    The function takes the cell, the shape, the number of threads, what is timed, the difference that the check
    before it found, and the two functions.
    """

    def measure(cell, shape, threads, what, error, ours, peer):
        benchmark = request.getfixturevalue("benchmark")  # a test whose check fails has none that it does not use
        n_calls = _calls_a_round(ours, peer)
        peer_rounds = []

        def take_turns():
            _rest_and_warm(peer, n_calls)
            peer_rounds.append(_time(peer, n_calls) / n_calls)
            _rest_and_warm(ours, n_calls)

        benchmark.group = f"{cell} {what}"
        gc.collect()
        gc.disable()
        try:
            benchmark.pedantic(
                _repeat, args=(ours, n_calls), setup=take_turns, rounds=request.config.getoption("rounds")
            )
        finally:
            gc.enable()
        if benchmark.stats is None:  # --benchmark-disable: checked, not timed
            return
        ours_rounds = [seconds / n_calls for seconds in benchmark.stats["data"]]
        figure = Figure(cell, shape, threads, what, error, ours_rounds, peer_rounds)
        request.config.stash[FIGURES].append(figure)
        benchmark.extra_info |= {
            "calls_a_round": n_calls,
            "peer_seconds_a_call": peer_rounds,
            "ratio": figure.ratio,
            "error": error,
        }

    return measure


def _repeat(function, n_calls):
    for _ in range(n_calls):
        function()


def _time(function, n_calls):
    began = time.perf_counter()
    _repeat(function, n_calls)
    return time.perf_counter() - began


def _rest_and_warm(function, n_calls):
    time.sleep(REST)
    _repeat(function, -(-n_calls // 4))


def _calls_a_round(*functions):
    """Calls that the fastest of the functions makes in `ROUND`; warms all of them up."""
    for function in functions:
        _repeat(function, 3)
    return max(1, round(ROUND / min(_time(function, 1) for function in functions for _ in range(5))))


# --- the table -------------------------------------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter, config):
    figures = config.stash[FIGURES]
    if not figures:
        return
    write = terminalreporter.write_line
    terminalreporter.section("seconds of PyTorch / seconds of fastrecur (above 1: fastrecur is faster)")
    for line in machine.describe():
        write(line)
    write(
        f"medians of {config.getoption('rounds')} rounds, the sides in turn; load before the run: {config.stash[LOAD]}"
    )
    for kind in _kinds(figures):
        write(f"{kind}: checked first, largest difference {max(f.error for f in figures if f.what == kind):.1e}")
    write("")
    for line in _table(figures):
        write(line)
    write("")
    for line in _means(figures):
        write(line)
    n_noisy = sum(figure.noisy for figure in figures)
    if n_noisy:
        write("")
        write(
            f"~ {n_noisy} of {len(figures)} figures: the median of a side is {NOISY:g} times its fastest round or more."
        )
        write("  Something else used the machine. These, and the means they enter, are to be measured again.")


def _kinds(figures):
    return list(dict.fromkeys(figure.what for figure in figures))


def _table(figures):
    kinds = _kinds(figures)
    yield _row("cell", "B, T, F, H", "threads", *(c for kind in kinds for c in (kind, "us, fastrecur : PyTorch")))
    yield _row(*["---"] * (3 + 2 * len(kinds)))
    found = {(f.cell, f.shape, f.threads, f.what): f for f in figures}
    for cell, shape, threads in dict.fromkeys(key[:3] for key in found):
        columns = []
        for kind in kinds:
            figure = found.get((cell, shape, threads, kind))
            columns += (
                ["", ""] if figure is None else [f"{'~' * figure.noisy}{figure.ratio:.2f}x", _microseconds(figure)]
            )
        yield _row(cell, ", ".join(map(str, shape)), threads, *columns)


def _means(figures):
    kinds = _kinds(figures)
    yield _row("geometric mean", "threads", *kinds)
    yield _row(*["---"] * (2 + len(kinds)))
    cells, numbers = dict.fromkeys(f.cell for f in figures), sorted({f.threads for f in figures})
    for name, members in [*((cell, {cell}) for cell in cells), ("all", set(cells))]:
        for threads in numbers:
            ratios = [
                [f.ratio for f in figures if f.cell in members and f.threads == threads and f.what == kind]
                for kind in kinds
            ]
            yield _row(
                name, threads, *(f"{_geometric_mean(r):.2f}x (least {min(r):.2f}x)" if r else "" for r in ratios)
            )


def _row(*columns):
    return "| " + " | ".join(map(str, columns)) + " |"


def _microseconds(figure):
    return " : ".join(f"{statistics.median(rounds) * 1e6:,.0f}" for rounds in (figure.ours, figure.peer))


def _geometric_mean(ratios):
    return math.exp(statistics.fmean(map(math.log, ratios)))
