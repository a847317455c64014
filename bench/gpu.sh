#!/usr/bin/env bash
# Everything for a machine with a GPU, in eight minutes where the packages are there: the tests for
# GPUs, the benchmarks, the most important first. Each stage has a limit, and ends early where the
# eight minutes do. What there is so far is in $OUT if something fails. Compiling takes most of the
# time, a second or two for each of about 130 kernels; with pytest-xdist, several processes share
# it, and the benchmarks find the kernels on disk.
#
#   OUT=results bench/gpu.sh     (default: bench/results)
#   PYTHON=python3.12            whose packages are used if they suffice
#   TORCH=no                     do not try to install PyTorch
set -uo pipefail
cd "$(dirname "$0")/.."

out=${OUT:-bench/results}
python=${PYTHON:-python3}
venv=build/gpu
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export PIP_DISABLE_PIP_VERSION_CHECK=1 MPLBACKEND=Agg COLUMNS=100
mkdir -p "$out"

began() {
    printf '\n== %s (%ss)\n' "$1" "$SECONDS"
}

# Checks that a Python has what the tests and benchmarks need, and prints what is missing.
suffices() {
    "$1" - <<'END'
import sys
try:
    import numba, numpy, pytest
    from numba import cuda
    assert sys.version_info >= (3, 10), "Python is older than 3.10"
    assert tuple(map(int, numba.__version__.split(".")[:2])) >= (0, 61), "Numba is older than 0.61"
    assert hasattr(numpy, "row_stack"), "numba-cuda 0.30 needs numpy<2.5"
    if not cuda.is_available():
        raise RuntimeError("Numba finds no GPU: " + str(getattr(cuda, "cuda_error", lambda: "")()))
except Exception as error:
    sys.exit(f"{sys.executable}: {type(error).__name__}: {error}")
END
}

install() {
    "$python" -m venv "$venv" || return
    python=$venv/bin/python
    # a toolkit newer than the driver would write PTX that the driver cannot read
    local cuda major
    cuda=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
    cuda=${cuda:-13.0} major=${cuda%%.*}
    "$python" -m pip install -q "numba>=0.61" "numpy>=2.0,<2.5" "numba-cuda[cu$major]" \
        "cuda-toolkit==$cuda.*" "pytest>=8" pytest-xdist || return
    "$python" -m pip install -q matplotlib rich ml_dtypes ||
        echo "going on without chart, progress bar or bfloat16"
    [ "${TORCH:-}" = no ] || timeout 180 "$python" -m pip install -q torch ||
        echo "going on without PyTorch"
    [ "${TORCH:-}" = no ] || timeout 60 "$python" -m pip install -q --no-deps torchao ||
        echo "going on without torchao"
}

began "Python packages"
if ! suffices "$python"; then
    [ -x "$venv/bin/python" ] && suffices "$venv/bin/python" || install || exit 2
    python=$venv/bin/python
    suffices "$python" || exit 2
fi
"$python" -m pip list 2>/dev/null | grep -iE '^(numpy|numba|numba-cuda|torch|cupy|ml.dtypes|cuda)' ||
    true
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true

status=0
end=$((SECONDS > 60 ? SECONDS + 450 : 475)) # what takes longer to install has the time besides

within() { # run a command for so many seconds at most, or until the end
    local left=$((end - SECONDS))
    if [ "$left" -lt 5 ]; then
        echo "left out: no time"
        return 1
    fi
    timeout $(($1 < left ? $1 : left)) "${@:2}"
}

began "tests"
# warnings of versions that nobody has tried yet are no failures here
alone="allocate_nothing or two_to_the_31 or two_gpus"  # they look at the memory of the whole device
processes=$(($(nproc) < 8 ? $(nproc) : 8)) several=()
"$python" -c "import xdist" 2>/dev/null && several=(-n "$processes" --dist load)
run_tests() {
    within "$1" "$python" -m pytest -m gpu -W default -p no:cacheprovider -rfEsxXP "${@:2}" \
        tests/cuda/test_gpu.py tests/cuda/test_gpu_torch.py tests/torch/test_torch_gpu.py \
        tests/torch/test_torch_gpu_offload.py 2>&1 |
        tee -a "$out/gpu-tests.log"
}
: >"$out/gpu-tests.log"
run_tests 160 "${several[@]}" -k "not ($alone)" || status=1
run_tests 40 -k "$alone" || status=1

began "benchmark"
within 90 "$python" bench/gpu.py --out "$out" --seconds "${CASE_SECONDS:-5}" 2>&1 |
    tee "$out/gpu-bench.log" || status=1

began "training with the optimizer on the host"
if "$python" -c "import torch; assert torch.cuda.is_available()" 2>/dev/null; then
    within 120 "$python" -m fastadam bench --offload --sizes 3e7 --no-small --seconds 3 \
        --csv "$out/offload-gpu.csv" 2>&1 | tee "$out/gpu-offload.log" || status=1
else
    echo "left out: PyTorch is not installed, or sees no GPU"
fi

began "configurations"
within 80 "$python" bench/gpu.py --configs --out "$out" --seconds 25 2>&1 |
    tee "$out/gpu-configs.log" || status=1

began "length of chunks"
within 30 "$python" bench/gpu_chunks.py --seconds 2 2>&1 | tee "$out/gpu-chunks.log" || status=1

began "done, status $status"
ls -l "$out"
exit "$status"
