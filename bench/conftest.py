"""Options, pytest-benchmark's rounds and the tables at the end of ``pytest bench``."""

import numba
import pytest

from bench import layer_tables, machine, timing
from bench.grid import CELLS, FORWARD, TRAINING
from bench.report import CheckFailedError, ratio

OURS, PEER = layer_tables.OURS, layer_tables.TORCH

TABLES, THREADS, LOAD = pytest.StashKey[dict](), pytest.StashKey[list](), pytest.StashKey[str]()


def pytest_addoption(parser):
    group = parser.getgroup("fastrecur", "side-by-side measurements")
    group.addoption("--threads", default=None, metavar="N[,N...]", help="numbers of threads (default: 1,2)")
    group.addoption("--rounds", default=30, type=int, help="timed rounds of each side (default: 30)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError('The measurements need pytest-benchmark and PyTorch: pip install ".[bench]"')
    config.option.benchmark_quiet = True  # its own table has seconds of one side only
    config.stash[THREADS], config.stash[LOAD] = _threads(config), machine.load()
    config.stash[TABLES] = {
        what: layer_tables.table(what.capitalize(), [], {cell: requirements[cell] for cell in CELLS}, [PEER])
        for what, requirements in (("forward", FORWARD), ("training step", TRAINING))
    }


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

    The function takes what is timed, the shape, the cell, the number of threads, what the check before
    it found, and the two functions.
    """

    def measure(what, shape, cell, threads, error, ours, peer):
        benchmark = request.getfixturevalue("benchmark")  # a test whose check fails has none that it does not use
        blocks = timing.blocks({PEER: peer, OURS: ours})
        peer_rounds = []

        def take_turns():
            peer_rounds.append(blocks[PEER]())
            blocks[OURS].prepare()

        benchmark.group = f"{cell} {what}"
        n_calls, rounds = blocks[OURS].n_calls, request.config.getoption("rounds")
        with timing.no_collection(), timing.pinned(threads):
            benchmark.pedantic(timing.repeat, args=(ours, n_calls), setup=take_turns, rounds=rounds)
        if benchmark.stats is None:  # --benchmark-disable: checked, not timed
            return
        seconds = {OURS: [s / n_calls for s in benchmark.stats["data"]], PEER: peer_rounds}
        figure = ratio(seconds, OURS, PEER, error=error)
        request.config.stash[TABLES][what].add(layer_tables.line(shape, threads), cell, figure)
        benchmark.extra_info |= {
            "calls_a_round": n_calls,
            "peer_seconds_a_call": peer_rounds,
            "ratio": figure.value,
            "error": error,
        }

    return measure


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    except CheckFailedError as failure:
        pytest.fail(f"{failure}: no figure", pytrace=False)


def pytest_terminal_summary(terminalreporter, config):
    tables = [table for table in config.stash[TABLES].values() if table.lines]
    if not tables:
        return
    terminalreporter.section("seconds of PyTorch / seconds of fastrecur (above 1: fastrecur is faster)")
    rounds = f"medians of {config.getoption('rounds')} rounds, the sides in turn; {config.stash[LOAD]}"
    for line in (*machine.describe(), rounds, "", *(line for table in tables for line in table.markdown())):
        terminalreporter.write_line(line)
