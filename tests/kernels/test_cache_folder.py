"""The cache folder as it is met in the wild: shared, raced for, upgraded, read-only. Each case in fresh processes."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.codegen import get_host_cpu_features

import fastrecur

ROOT = Path(fastrecur.__file__).parents[1]
AVX2 = "+avx,+avx2,+bmi,+bmi2,+fma,+popcnt,+sse4.1,+sse4.2"

#: Prints the instruction set, cache hits and misses of a small kernel with a helper in another folder, and the sum of
#: the numbers that it draws.
SCRIPT = """
import numpy as np
from fastrecur.kernels.cpu.masks import recurrent_masks
from fastrecur.kernels.cpu.target import INSTRUCTION_SET
masks = np.empty((1, 40, 56))
recurrent_masks(np.uint64(1), 0, 0.3, 53, masks)
total = float((masks * np.arange(masks.size).reshape(masks.shape)).sum())
stats = recurrent_masks.stats
print(INSTRUCTION_SET, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), total)
"""


def start(cache, root=ROOT, **settings):
    environment = {**os.environ, "PYTHONPATH": str(root), "NUMBA_CACHE_DIR": str(cache), **settings}
    return subprocess.Popen(
        [sys.executable, "-W", "always", "-c", SCRIPT],
        env=environment, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    """(instruction set, hits, misses, sum of the masks) and what was warned of."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    name, hits, misses, total = out.split()
    return (name, int(hits), int(misses), float(total)), err


def run(cache, root=ROOT, **settings):
    result, warned = finish(start(cache, root, **settings))
    assert warned == ""
    return result


@pytest.fixture
def install(tmp_path):
    """A copy of the package."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "fastrecur", tmp_path / "install" / "fastrecur", ignore=ignored)
    return tmp_path / "install"


def test_two_processes_that_compile_at_once(tmp_path):
    first, second = start(tmp_path), start(tmp_path)
    (one, warned_one), (two, warned_two) = finish(first), finish(second)
    assert warned_one == warned_two == ""
    assert one[3] == two[3] == run(tmp_path)[3]
    assert run(tmp_path)[1:3] == (1, 0)


def test_an_upgrade_that_changes_only_a_helper_runs_no_stale_kernel(tmp_path, install):
    before = run(tmp_path / "cache", install)
    helper = install / "fastrecur" / "kernels" / "arithmetic.py"
    text = helper.read_text()
    other = text.replace("np.uint64(0x61C8864680B583EB)", "np.uint64(0x61C8864680B583E9)")  # of splitmix
    assert other != text
    helper.write_text(other)
    after = run(tmp_path / "cache", install)
    assert before[2] == after[2] == 1
    assert abs(after[3] - before[3]) > 1e-3
    helper.write_text(text)
    assert run(tmp_path / "cache", install) == (before[0], 1, 0, before[3])


def without_sources(install):
    """Compiled files in the sources' place."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-b", str(install)], check=True)
    for source in install.rglob("*.py"):
        source.unlink()
    return install


def zipped(install):
    return shutil.make_archive(str(install), "zip", install)


@pytest.mark.parametrize("packed", [without_sources, zipped])
def test_an_upgrade_is_seen_without_sources_and_in_a_zip_file(tmp_path, install, packed):
    newer = shutil.copytree(install, tmp_path / "newer")
    helper = newer / "fastrecur" / "kernels" / "arithmetic.py"
    helper.write_text(helper.read_text() + "ADDED = 1\n")
    script = "from fastrecur.kernels.compile import source_stamp; print(source_stamp())"
    stamps = []
    for root in (packed(install), packed(newer)):
        environment = {**os.environ, "PYTHONPATH": str(root)}
        output = subprocess.run(
            [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        stamps.append(output.strip())
    assert len(set(stamps) - {"None", ""}) == 2


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64")
    or not set(AVX2.split(",")) <= set(get_host_cpu_features().split(",")),
    reason="needs a processor with AVX2",
)
def test_machines_of_other_instruction_sets_share_the_folder(tmp_path):
    targets = [("haswell", AVX2), ("generic", "")]
    settings = [{}, *({"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features} for name, features in targets)]
    compiled = [run(tmp_path, **setting) for setting in settings]
    assert [result[0] for result in compiled[1:]] == ["AVX2", "plain"]
    assert [result[1:3] for result in compiled] == [(0, 1)] * 3
    assert len({result[3] for result in compiled}) == 1
    assert [run(tmp_path, **setting)[1:] for setting in settings] == [(1, 0, result[3]) for result in compiled]


def test_nothing_is_written_beside_the_sources(tmp_path, install):
    def files():
        return sorted(path for path in install.rglob("*") if "__pycache__" not in path.parts or path.suffix != ".pyc")

    before = [path for path in files() if path.name != "__pycache__"]
    run(tmp_path / "cache", install)
    assert [path for path in files() if path.name != "__pycache__"] == before


@pytest.mark.skipif(os.name != "posix", reason="the home directory is told otherwise")
def test_a_home_that_cannot_be_written_costs_one_warning(tmp_path):
    home = tmp_path / "home"
    home.write_text("no directory")
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    (_, hits, misses, _), warned = finish(start("", **environment))
    assert (hits, misses) == (0, 1)
    assert warned.count("RuntimeWarning") == 1
    assert "NUMBA_CACHE_DIR" in warned
