#!/bin/bash
# tools/pjrt/gpu.sh [--dry] PART...: measures a bundle on this machine's GPU, the parts metric, step and study in turn.
#
# Needs Python with JAX and its CUDA plugin, PyTorch, SciPy, scikit-learn and Pillow; no TensorFlow. --dry is for CPUs, with a small
# bundle. Each program has its own process and time limit, and writes each measurement as it is made.
#   BUNDLE   the folder that export.py wrote (.pjrt/full; with --dry .pjrt/small)
#   OUT      the folder for all results (pjrt-results)
#   PYTHON   the interpreter (python3)
#   BUDGET_S seconds for study (380): whole runs only
#   PROCESSES of study, side by side, each with seeds of its own (1); under CUDA's multi-process service where it is installed
#   GRAPHS   what study's training puts into CUDA graphs: default, convolution, loop or none; what step found the fastest
#   METRIC_S, STEP_S  seconds for the first program of these parts (80, 100)
#   NETWORKS names of networks, for metric and step: these alone
#   PRECISION of study's training: tf32, as TensorFlow trains on GPUs, or float32, which a penalty on the spectrum needs
# Still to be measured on an H100 (docs/results/gpu.md has the rest):
#   NETWORKS="dcgan32-256 dcgan32-128 wgangp32-128" METRIC_S=90 gpu.sh metric
#   NETWORKS=wgangp32-128-1 STEP_S=1 gpu.sh step                             PyTorch alone is missing
set -u
cd "$(dirname "$0")/../.."
dry=
if [ "${1:-}" = --dry ]; then
    dry=1
    shift
fi
[ $# -gt 0 ] || { echo "gpu.sh: expected parts: metric, step, study" >&2; exit 2; }
BUNDLE=${BUNDLE:-.pjrt/${dry:+small}}
[ "$BUNDLE" != .pjrt/ ] || BUNDLE=.pjrt/full
OUT=${OUT:-pjrt-results}
PYTHON=${PYTHON:-python3}
SCRATCH=${SCRATCH:-/tmp/tfjc-pjrt}
BUDGET_S=${BUDGET_S:-380}
mkdir -p "$OUT" "$SCRATCH"
export PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=2
# JAX takes its memory once, and PyTorch comes after it.
export XLA_PYTHON_CLIENT_PREALLOCATE=true XLA_PYTHON_CLIENT_MEM_FRACTION=0.85
# For tfjc's modules and JAX's alike: choose algorithms without checking each against the others, and leave matrix products
# to cuBLAS. Both only shorten compilation.
export XLA_FLAGS="--xla_gpu_autotune_level=2 --xla_gpu_enable_triton_gemm=false ${XLA_FLAGS:-}"
if [ -z "$dry" ]; then # what one part has compiled and tuned, the next one need not
    export JAX_COMPILATION_CACHE_DIR=$SCRATCH/xla JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=1
fi

# limited SECONDS PROGRAM ARGUMENT...: runs a program of this folder, and says how it ended.
limited() {
    local seconds=$1 program=$2 began=$SECONDS
    shift 2
    timeout --kill-after=5 "$seconds" "$PYTHON" "tools/pjrt/$program" "$@"
    echo "# $program $1: status $?, $((SECONDS - began)) s"
}

metric() {
    # Also for libraries that ask nobody whether they may round to TF32.
    NVIDIA_TF32_OVERRIDE=0 limited "${dry:+9}${METRIC_S:-80}" run.py metric "$BUNDLE" --output "$OUT/metric.jsonl" \
        --scratch "$SCRATCH" --workers 8 ${NETWORKS:+--networks $NETWORKS}
    NVIDIA_TF32_OVERRIDE=0 limited "${dry:+9}60" peers.py metric "$BUNDLE" --output "$OUT/metric.jsonl" \
        ${NETWORKS:+--networks $NETWORKS}
}

step() {
    local to=(--output "$OUT/step.jsonl" --scratch "$SCRATCH") of=(${NETWORKS:+--networks $NETWORKS})
    limited "${dry:+9}${STEP_S:-100}" run.py step "$BUNDLE" "${to[@]}" --workers 8 "${of[@]}"
    case ${NETWORKS:-dcgan28-64} in
        *dcgan28*) limited "${dry:+9}35" run.py graphs "$BUNDLE" "${to[@]}" ;; # figure 1's network
    esac
    limited "${dry:+9}40" peers.py step "$BUNDLE" "${to[@]}" "${of[@]}"
    limited "${dry:+9}50" peers.py compiled "$BUNDLE" "${to[@]}" "${of[@]}"
    cp "$SCRATCH"/step-dcgan28-*-clamped.npz "$OUT/" 2>/dev/null
}

study() {
    local processes=${PROCESSES:-1} share
    if [ "$processes" -gt 1 ]; then
        export XLA_PYTHON_CLIENT_MEM_FRACTION=$("$PYTHON" -c "print(0.8 / $processes)")
        [ -n "$dry" ] || multi_process_service
    fi
    for ((share = 0; share < processes; share++)); do
        limited "$((BUDGET_S + 30))" run.py study "$BUNDLE" --output "$OUT/study_$share.jsonl" --runs "$SCRATCH/study" \
            --packed "$OUT" --budget "$BUDGET_S" --share "$share/$processes" --scratch "$SCRATCH" \
            ${GRAPHS:+--graphs "$GRAPHS"} --precision "${PRECISION:-tf32}" &
    done
    wait
    cp "$SCRATCH/study/study.json" "$OUT/" # names the seeds of all processes: it replaces that of the archives
}

# Lets kernels of several processes run at the same time. Where the service is missing or fails, the processes take turns.
multi_process_service() {
    command -v nvidia-cuda-mps-control >/dev/null || return
    export CUDA_MPS_PIPE_DIRECTORY=$SCRATCH/mps CUDA_MPS_LOG_DIRECTORY=$SCRATCH/mps
    mkdir -p "$CUDA_MPS_PIPE_DIRECTORY"
    nvidia-cuda-mps-control -d
    if XLA_PYTHON_CLIENT_PREALLOCATE=false timeout 40 "$PYTHON" -c 'import jax; assert jax.numpy.ones(9).sum() == 9'; then
        echo "# multi-process service"
        trap 'echo quit | nvidia-cuda-mps-control' EXIT
    else
        echo quit | nvidia-cuda-mps-control
        unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
    fi
}

{
    date -u
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,power.limit --format=csv 2>/dev/null
    "$PYTHON" -c 'import jax, jaxlib, numpy, os, platform, torch
print(platform.python_version(), "jax", jax.__version__, "jaxlib", jaxlib.__version__, "torch", torch.__version__,
      "numpy", numpy.__version__, "cores", len(os.sched_getaffinity(0)))'
    for part in "$@"; do
        case $part in
            metric | step | study) echo "# $part" && "$part" ;;
            *) echo "gpu.sh: no part is called $part" >&2 ;;
        esac
    done
    date -u
} 2>&1 | tee -a "$OUT/log.txt"
