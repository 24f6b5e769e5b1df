"""Strict modes for every test; the import hook must be installed before anything of ibal is imported."""

import gc
import os
import sys
import zlib
from importlib.metadata import version

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")  # below, and of the processes that tests start

# Nearly all of the time goes into compiling programs that then run for a moment: they are compiled in haste. Most of
# what is left is the code generator for fusions; the flag is XLA's own, which refuses to start with flags it lacks.
if version("jaxlib").startswith("0.10.") and "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"

import jax
import pytest
from jax._src import compilation_cache
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Most of the time goes into compiling the same programs again; what was compiled is kept beside the packages that
# compiled it, in the virtual environment, and goes when that goes.
if sys.prefix != sys.base_prefix and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    jax.config.update("jax_compilation_cache_dir", os.path.join(sys.prefix, "jax-cache"))
    # The many tiny programs, too: both processes of a run need them.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # jax packs them as tightly as zlib usually does, which took 12 s of a whole run; as loosely as it can, 4.
    if compilation_cache.compress_executable(b"") == zlib.compress(b""):
        compilation_cache.compress_executable = lambda executable: zlib.compress(executable, 1)

jax.devices()  # from here on their number stands, whatever a command asks for

install_import_hook("ibal", "typechecker.check")

# Tracing makes objects by the million, and what is compiled stays: by default Python would look through all of it
# again and again for what can be thrown away.
gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After every file: throw away what can be, and do not look at the rest again."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
