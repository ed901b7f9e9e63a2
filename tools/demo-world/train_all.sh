#!/usr/bin/env bash
# Training on a machine with two GPUs, by the clock: one stage or several on each GPU at a time.
#
#   train_all.sh only_vaes IN OUT SECONDS     the two VAEs, and while they train, one after another, a rehearsal of each denoiser
#   train_all.sh models IN OUT SECONDS        with the VAEs in IN: the three models, the same without grounding, and figures of all
#
# IN has atlas.npz, tokenizer/ and tokenizer-wan/ (README.md); and vae/, vae-wan/ and cache/ of an earlier OUT, where there are any.  In OUT each
# stage has a log and what it made.  VAE, VAE_WAN and UNET are further arguments of those trainings.
set -u
mode=${1:-} in=$(realpath "${2:-.}") out=${3:-out} seconds=${4:-0}
mkdir -p "$out/logs" && out=$(realpath "$out")
cd "$(dirname "$0")" || exit 2
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=8 TORCHINDUCTOR_CACHE_DIR=$out/cache
[ -d "$in/cache" ] && [ ! -d "$out/cache" ] && cp -r "$in/cache" "$out/cache"
atlas="--atlas $in/atlas.npz"
image="train_vae.py $atlas --square 8 --edges 0.25 --channels 48,64,128,128 ${VAE:-}"
clips="train_vae_wan.py $atlas --square 8 --edges 0.25 ${VAE_WAN:-}"

# stage NAME GPU COMMAND...: runs it on a GPU, its output in logs/NAME.log
stage() {
    local name=$1 gpu=$2 begin=$SECONDS
    shift 2
    CUDA_VISIBLE_DEVICES=$gpu ${BEFORE:-} "$python" "$@" >"$out/logs/$name.log" 2>&1
    echo "$name: rc $? after $((SECONDS - begin)) s: $(tail -n 1 "$out/logs/$name.log" | cut -c 1-240)"
}
# rehearse NAME GPU COMMAND...: compiles it while others train, and tells how fast it is; $out/ready-NAME when that is done.
rehearse() {
    BEFORE="nice -n 10 timeout ${REHEARSE:-200}" TORCHINDUCTOR_COMPILE_THREADS=8 stage "rehearse-$1" "${@:2}" --rehearse --seconds 1000 --out "$out/rehearsed"
    grep -q compiled "$out/logs/rehearse-$1.log" && touch "$out/ready-$1"
}
# denoiser NAME: the command of its training.
denoiser() {
    local data=data more="--half ${UNET:-}"
    [ "$1" = demo-wan ] && data=data-wan more=
    echo "train_denoiser.py --model $1 --data $out/$data $more"
}
# model NAME GPU SECONDS FOLDER ARGUMENTS...: a training
model() {
    stage "$4" "$2" $(denoiser "$1") --out "$out/$4" --seconds "$3" --compile-after "$out/ready-$1" "${@:5}"
}
# figures NAME GPU FROM: of what was trained, as a whole checkpoint.
figures() {
    local vae=vae tokenizer=tokenizer
    [ "$1" = demo-wan ] && vae=vae-wan tokenizer=tokenizer-wan
    "$python" export.py --model "$1" --vae "$out/$vae" --from "$out/$3" --tokenizer "$in/$tokenizer" --out "$out/checkpoint-$3" >"$out/logs/export-$3.log" 2>&1
    stage "figures-$3" "$2" evaluate.py subjects iou transfer --model "$out/checkpoint-$3" $atlas --out "$out/figures-$3" \
        --settings transfer-settings.json --seconds "${FIGURES:-60}"
}

only_vaes() {
    # Clips of noise: enough to rehearse with.
    "$python" - "$out" <<'PYTHON'
import sys, torch, pathlib
for name, channels, frames, vocabulary in (("data", 8, 16, 2648), ("data-wan", 16, 5, 604)):
    folder = pathlib.Path(sys.argv[1]) / name
    folder.mkdir(exist_ok=True)
    n = 512
    ids = torch.zeros(n, 32, dtype=torch.int16)
    ids[:, :6] = torch.randint(3, vocabulary, (n, 6))
    torch.save({"latents": torch.randn(n, channels, frames, 16, 16).half(), "cover": torch.randint(255, (n, 3, frames, 16, 16)).byte(),
                "count": torch.ones(n).char(), "ids": ids, "at": torch.ones(n, 3, dtype=torch.int16), "empty": ids[0].long(),
                "vocabulary": vocabulary}, folder / "clips-0.pt")
PYTHON
    "$python" scenes.py --out "$in"
    stage vae 0 $image --out "$out" --seconds "$seconds" --compile-after "$out/ready-vae" &
    local first=$!
    stage vae-wan 1 $clips --out "$out" --seconds "$seconds" --compile-after "$out/ready-vae-wan" &
    local second=$!
    (rehearse vae 0 $image && rehearse demo 0 $(denoiser demo)) &
    (rehearse vae-wan 1 $clips && rehearse demo-wan 1 $(denoiser demo-wan) && rehearse demo-animatediff 1 $(denoiser demo-animatediff)) &
    wait $first $second
}

models() {
    local stages=0.1,0.25,0.5 left=$((seconds - 70))
    cp -r "$in/vae" "$in/vae-wan" "$out"
    "$python" scenes.py --out "$in"
    stage data 0 encode_clips.py $atlas --vae "$out/vae" --tokenizer "$in/tokenizer" --out "$out/data" --seconds 40 &
    stage data-wan 1 encode_clips.py --model demo-wan $atlas --vae "$out/vae-wan" --tokenizer "$in/tokenizer-wan" --out "$out/data-wan" --seconds 40 &
    wait
    if [ -d "$in/cache" ]; then
        touch "$out"/ready-{demo,demo-wan,demo-animatediff}
    else
        (rehearse demo 0 $(denoiser demo) && rehearse demo-animatediff 0 $(denoiser demo-animatediff)) &
        rehearse demo-wan 1 $(denoiser demo-wan) &
    fi
    # Without grounding each has a quarter of the time of those that are shipped; their stages compare with the others'.
    (
        model demo 0 $((left * 72 / 100)) demo --stages $stages
        model demo 0 $((left * 20 / 100)) demo-plain --ground 0 --stages 0.5
        figures demo 0 demo
    ) &
    (
        model demo-wan 1 $((left * 28 / 100)) demo-wan --stages $stages
        model demo-animatediff 1 $((left * 38 / 100)) demo-animatediff --stages $stages
        model demo-wan 1 $((left * 10 / 100)) demo-wan-plain --ground 0 --stages 0.5
        model demo-animatediff 1 $((left * 14 / 100)) demo-animatediff-plain --ground 0 --stages 0.5
        figures demo-wan 1 demo-wan
        figures demo-animatediff 1 demo-animatediff
    ) &
    wait
}

case $mode in
only_vaes | models) "$mode" ;;
*) echo "train_all.sh only_vaes|models IN OUT SECONDS" && exit 2 ;;
esac
