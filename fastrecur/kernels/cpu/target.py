"""The processor that Numba compiles for, and the tile shapes that suit it.

A tile of ROWS x VECTORS accumulators, VECTORS vectors of the weights and one number of the state must fit the
register file: 32 registers with AVX-512 and on ARM, 16 with AVX2 and SSE. ``NUMBA_CPU_NAME`` and
``NUMBA_CPU_FEATURES`` are honoured, as Numba itself does.
"""

import numba
from llvmlite import binding
from numba.core.codegen import get_host_cpu_features


def _features():
    chosen = numba.config.CPU_FEATURES
    text = get_host_cpu_features() if chosen is None else chosen
    return {name[1:] for name in text.split(",") if name.startswith("+")}


def _instruction_set():
    """Name, bytes of a vector register, number of vector registers, whether multiply-adds are fused."""
    features = _features()
    machine = binding.get_process_triple().split("-")[0]
    if {"avx512f", "avx512vl", "avx512dq"} <= features:
        return "AVX-512", 64, 32, True
    if {"avx2", "fma"} <= features:
        return "AVX2", 32, 16, True
    if machine in ("aarch64", "arm64"):
        return "NEON", 16, 32, True
    return "plain", 16, 16, False


INSTRUCTION_SET, VECTOR_BYTES, REGISTERS, HAS_FMA = _instruction_set()

#: Bytes of a line of the processor's caches.
CACHE_LINE = 64

#: Bytes of a layer's weights, too many for a second-level cache: forward they are read less often, the features' part
#: for several time steps at a time, and by each thread its own part alone, which takes layers of 5 to 13 MB up to 14%
#: less time (Zen 3). With AVX-512 those of 6 and 8 MB take 2 to 8% more (Zen 5).
LARGE_WEIGHTS = 2**22 if VECTOR_BYTES < 64 else 2**62

#: Bytes of weights from which on those of the next panel are asked for beside the multiplications, forward in the LSTM
#: and the GRU, and in W^T dz of all cells, for a second-level cache (of 512 KB) holds too few: of 2 to 8 MB it takes 5
#: to 14% off the products, of less than 1 it costs up to 5 (Zen 3). With AVX-512 it takes 2% off the forward part
#: of a training step of 8 MB (LSTM, Zen 5), and dx asks for its gates instead, where these are far.
FAR_WEIGHTS = 2**21

#: Tallest and middle tile that stay in registers beside 2, 3 and 4 vectors a row (without fused multiply-adds a
#: product needs a register more). Measured: 6x4, 8x3, 12x2 run at the peak of AVX-512; 3x4, 4x3, 6x2 at AVX2's, 2x4 at
#: 0.9 of it; taller ones spill to half.
TALL_2, MIDDLE_2 = (12, 4) if REGISTERS == 32 else (6, 4)
TALL_3, MIDDLE_3 = (8, 4) if REGISTERS == 32 else (4, 2) if HAS_FMA else (2, 2)
TALL_4, MIDDLE_4 = (6, 4) if REGISTERS == 32 else (3, 2) if HAS_FMA else (2, 2)
