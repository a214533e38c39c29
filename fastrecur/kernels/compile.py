"""The compile policy, in one place: how every kernel is compiled and where its machine code is kept.

``inline``
    Pieces of kernels. LLVM compiles them into whatever calls them, unless they are large.
``in_registers``
    Pieces that take a tile and give one: LLVM has to, or the tile would go there and back through memory.
``merged``
    Large pieces that a kernel calls from one place: Numba puts them into the caller before it infers types. A piece of
    the other kind is optimised and turned into machine code once for itself and once more with each caller around it,
    which made the first fit a tenth longer.
``kernel``, ``SharedKernel``
    Entry points, of one thread and of several. Compiled at the first call for each set of argument types (importing
    the package compiles nothing), kept on disk, and free of the interpreter lock while they run. Python does not search
    for cyclic garbage while one is compiled: that took a tenth of the first fit.
``locked_kernel``
    An entry point that keeps the interpreter lock, as it reads what other Python threads may change.

All use ``error_model="numpy"``: Python's model tests every division for zero, which stops vectorisation. No
fast-math flag is set: NaN and infinity stay what they are, and the bits of a sum do not depend on where it is
compiled. Fused multiply-adds are asked for by name.

Numba's own cache does not see an edit in another file, and refuses at import where it finds no directory to
write to. Here the directory's name holds a hash of the sources of the kernels and of the versions that compile them, so
that machine code of other sources is never found, and without a directory kernels are compiled in each process.
"""

import functools
import gc
import hashlib
import importlib.resources
import tempfile
import warnings
from pathlib import Path

import llvmlite
import numba
from numba import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.compiler import Compiler
from numba.misc.appdirs import AppDirs

_piece = functools.partial(numba.njit, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
merged = functools.partial(_piece, inline="always")


def inline(function, **options):
    """Decorate a piece: see the module's docstring. It is compiled once for all constants that it is called with.

    Numba would compile it for each of them, which took a tenth of the first fit. Where it matters, LLVM finds out.
    """
    piece = _piece(function, **options)
    if not numba.config.DISABLE_JIT:
        of_types = piece.get_call_template
        piece.get_call_template = lambda args, kws: of_types(tuple(map(types.unliteral, args)), kws)
    return piece


in_registers = functools.partial(inline, forceinline=True)


@functools.cache
def source_stamp():
    """Hash of everything that decides the machine code: sources of the CPU's kernels, Numba, llvmlite.

    Of compiled files where there are no sources; None where there are no files at all, as in some frozen applications.
    """
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    package = importlib.resources.files("fastrecur.kernels")  # on disk, or in a zip file
    try:
        files = [(folder.name, file) for folder in (package, package / "cpu") for file in folder.iterdir()]
    except OSError:
        return None
    files = sorted((folder, file.name, file) for folder, file in files if file.name.endswith((".py", ".pyc")))
    for folder, name, file in files:
        digest.update(f"{folder}/{name}".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16] if files else None


@functools.cache
def cache_directory():
    """Directory of the compiled kernels, or None where there can be none (one warning)."""
    if source_stamp() is None:
        warnings.warn(
            "fastrecur finds no files of its kernels, to tell those of other versions by, so that each process "
            "compiles them anew.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    root = numba.config.CACHE_DIR or AppDirs("fastrecur", appauthor=False).user_cache_dir
    folder = Path(root) / f"kernels-{source_stamp()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        warnings.warn(
            f"fastrecur cannot write its cache of compiled kernels ({error}), so that each process compiles them "
            "anew. Set NUMBA_CACHE_DIR to a directory that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return str(folder)


class _Locator(_CacheLocator):
    """Tells Numba's cache to use `cache_directory`, with the sources' hash for a time stamp."""

    suffix = ""

    def __init__(self, py_func):
        self._py_file = py_func.__code__.co_filename
        self._line = py_func.__code__.co_firstlineno

    def get_cache_path(self):
        return cache_directory()

    def get_source_stamp(self):
        return source_stamp()

    def get_disambiguator(self):
        return f"{self._line}{self.suffix}"

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func)


class _SharedLocator(_Locator):
    suffix = "-shared"


class _Impl(CompileResultCacheImpl):
    _locator_classes = (_Locator,)

    def __init__(self, py_func):
        overridden, numba.config.CACHE_LOCATOR_CLASSES = numba.config.CACHE_LOCATOR_CLASSES, ""
        try:
            super().__init__(py_func)
        finally:
            numba.config.CACHE_LOCATOR_CLASSES = overridden


class _SharedImpl(_Impl):
    _locator_classes = (_SharedLocator,)


class _Cache(FunctionCache):
    _impl_class = _Impl


class _SharedCache(FunctionCache):
    _impl_class = _SharedImpl


class _Compiler(Compiler):
    """Numba's, with pieces and all, while Python's search for cyclic garbage rests. Numba's lock is held here."""

    def compile_extra(self, func):
        searching = gc.isenabled()
        gc.disable()
        try:
            return super().compile_extra(func)
        finally:
            if searching:
                gc.enable()


def _compiled(function, cache, nogil=True, **options):
    dispatcher = numba.njit(function, error_model="numpy", nogil=nogil, pipeline_class=_Compiler, **options)
    if not numba.config.DISABLE_JIT and cache_directory() is not None:
        dispatcher._cache = cache(function)
    return dispatcher


def kernel(function):
    """Decorate an entry point: see the module's docstring."""
    return _compiled(function, _Cache)


def locked_kernel(function):
    """Decorate an entry point: see the module's docstring."""
    return _compiled(function, _Cache, nogil=False)


class SharedKernel:
    """Decorate an entry point whose last argument, ``shards``, bounds what each thread takes, and that loops over them.

    It is compiled twice, each when it is first called for: for one share as a plain loop, which neither starts nor
    enters Numba's threading layer, and for several as a parallel one.
    """

    def __init__(self, function):
        functools.update_wrapper(self, function)
        only_prange = {"prange": True} | dict.fromkeys(
            ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion"), False
        )
        self.alone = kernel(function)
        self.shared = _compiled(function, _SharedCache, parallel=only_prange)

    def of(self, shards):
        """The compiled function for these shares, for callers to whom half a microsecond matters."""
        return self.alone if len(shards) == 2 else self.shared

    def __call__(self, *args):
        """Run the kernel."""
        return self.of(args[-1])(*args)
