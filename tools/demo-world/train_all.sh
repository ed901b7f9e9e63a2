#!/usr/bin/env bash
# Training on a machine with two GPUs, by the clock: one stage or several on each GPU at a time.
#
#   train_all.sh trials IN OUT            which VAEs are worth their time, and whether all trainings run: about 8 minutes
#   train_all.sh all IN OUT SECONDS       everything: VAEs, data, the three models with and without grounding
#
# IN has atlas.npz, tokenizer/ and tokenizer-wan/ (README.md); in OUT each stage has a log, and what it made.  What is already in OUT is gone on from.
set -u
mode=$1 in=$(realpath "$2") out=$3 seconds=${4:-0}
mkdir -p "$out/logs" && out=$(realpath "$out")
cd "$(dirname "$0")" || exit 2
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=8
atlas="--atlas $in/atlas.npz"

# stage NAME GPU COMMAND...: runs it on a GPU, its output in logs/NAME.log
stage() {
    local name=$1 gpu=$2 begin=$SECONDS
    shift 2
    CUDA_VISIBLE_DEVICES=$gpu "$python" "$@" >"$out/logs/$name.log" 2>&1
    echo "$name: rc $? after $((SECONDS - begin)) s: $(tail -n 1 "$out/logs/$name.log" | cut -c 1-240)"
}
# The scenes' pictures, once, for all that follow.
scenes() {
    "$python" -c "import world; world.Renderer('$in/atlas.npz', 'cpu', 192, 8)"
}

trials() {
    scenes
    local each=${EACH:-100} short=${SHORT:-60}
    (
        stage vae-base 0 train_vae.py $atlas --out "$out/vae-base" --seconds "$each"
        stage vae-wide 0 train_vae.py $atlas --out "$out/vae-wide" --seconds "$each" --channels 48,64,128,128
        stage vae-square 0 train_vae.py $atlas --out "$out/vae-square" --seconds "$each" --square 8 --edges 0.25
        stage data 0 encode_clips.py $atlas --vae "$out/vae-base/vae" --tokenizer "$in/tokenizer" --out "$out/data" --seconds 8
        stage demo-half 0 train_denoiser.py --model demo --half --data "$out/data" --out "$out/demo-half" --seconds "$short" --invert-from 0.8
        stage animatediff-half 0 train_denoiser.py --model demo-animatediff --half --data "$out/data" --out "$out/animatediff-half" --seconds "$short"
    ) &
    (
        stage wan-24 1 train_vae_wan.py $atlas --out "$out/wan-24" --seconds "$each"
        stage wan-32 1 train_vae_wan.py $atlas --out "$out/wan-32" --seconds "$each" --base-dim 32 --dim-mult 1,2,2,2
        stage wan-16 1 train_vae_wan.py $atlas --out "$out/wan-16" --seconds "$each" --base-dim 16 --dim-mult 1,2,4,4
        stage data-wan 1 encode_clips.py --model demo-wan $atlas --vae "$out/wan-24/vae-wan" --tokenizer "$in/tokenizer-wan" --out "$out/data-wan" --seconds 8
        stage demo-wan 1 train_denoiser.py --model demo-wan --data "$out/data-wan" --out "$out/demo-wan" --seconds "$short"
        [ -d "$out/data" ] && stage demo-autocast 1 train_denoiser.py --model demo --data "$out/data" --out "$out/demo-autocast" --seconds "$short" --invert-from 0.8
    ) &
    wait
}

case $mode in
trials) trials ;;
*) echo "train_all.sh trials|all IN OUT [SECONDS]" && exit 2 ;;
esac
