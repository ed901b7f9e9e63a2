#!/usr/bin/env bash
# Training on a machine with two GPUs, or one, by the clock: two rows of stages beside each other.
#
#   train_all.sh all IN OUT SECONDS     VAEs, data, the three models, the same without grounding, and figures; of SECONDS, a few more for the figures
#   train_all.sh more IN OUT SECONDS    goes on from IN/vae (its decoder alone), IN/vae-wan, IN/demo, IN/demo-wan and IN/demo-animatediff, three rows
#                                       beside each other, and figures
#   train_all.sh study IN OUT           figures of every stage and of what was trained without grounding, for experiments/models: about 4 minutes
#   train_all.sh pack OUT TO NAME...    what was trained of these names (without the raw weights), in files TO/NAME.tar.* of 15 MB
#
# IN has atlas.npz, tokenizer/ and tokenizer-wan/ (README.md); and may have vae/, trained for VAE_ELAPSED seconds, to go on from.  In OUT each stage has
# a log and what it made; weights are written every minute.  VAE, VAE_WAN and UNET are further arguments of those trainings.
#
# Every training begins at once as it is.  Beside it a rehearsal compiles the same, and the training goes on compiled as soon as that is done.
set -u
mode=${1:-}
if [ "$mode" = pack ]; then
    cd "$2" && to=$(realpath "$3") && shift 3
    for name; do tar cf - --exclude=raw --exclude=stages "$name" | split -b 15000000 - "$to/${name//\//-}.tar."; done
    exit
fi
in=$(realpath "${2:-.}") out=${3:-out} seconds=${4:-0}
second=$([ "$(nvidia-smi -L 2>/dev/null | wc -l)" -gt 1 ] && echo 1 || echo 0)  # the GPU of the second row
mkdir -p "$out/logs" && out=$(realpath "$out")
cd "$(dirname "$0")" || exit 2
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=8 TORCHINDUCTOR_CACHE_DIR=$out/cache
atlas="--atlas $in/atlas.npz" short=0.45
image="train_vae.py $atlas --square 8 --edges 0.25 --subject-weight 1 ${VAE:-}"
clips="train_vae_wan.py $atlas --square 8 --edges 0.25 --subject-weight 1 ${VAE_WAN:-}"

# stage NAME GPU COMMAND...: runs it on a GPU, its output in logs/NAME.log
stage() {
    local name=$1 gpu=$2 begin=$SECONDS
    shift 2
    CUDA_VISIBLE_DEVICES=$gpu ${BEFORE:-} "$python" "$@" >"$out/logs/$name.log" 2>&1
    echo "$name: rc $? after $((SECONDS - begin)) s: $(tail -n 1 "$out/logs/$name.log" | cut -c 1-240)"
}
# rehearse NAME GPU COMMAND...: compiles it while others train, and tells how fast it is; $out/ready-NAME when that is done.
rehearse() {
    BEFORE="nice -n 10 timeout ${REHEARSE:-300}" TORCHINDUCTOR_COMPILE_THREADS=4 stage "rehearse-$1" "${@:2}" --rehearse --seconds 1000 --out "$out/rehearsed"
    grep -q compiled "$out/logs/rehearse-$1.log" && touch "$out/ready-$1"
}
# denoiser NAME WHERE: the command of its training on the data in a folder.
denoiser() {
    local data=data more="--half --batch 32 --short $short ${UNET:-}"
    [ "$1" = demo-wan ] && data=data-wan more="--batch 64"
    echo "train_denoiser.py --model $1 --data $2/$data $more"
}
# model NAME GPU SECONDS FOLDER ARGUMENTS...: a training
model() {
    stage "$4" "$2" $(denoiser "$1" "$out") --out "$out/$4" --seconds "$3" --compile-after "$out/ready-$1" "${@:5}"
}
# figures NAME GPU FROM [SETTINGS]: of what was trained, as a whole checkpoint.
figures() {
    local vae=vae tokenizer=tokenizer from=${3//\//-}
    [ "$1" = demo-wan ] && vae=vae-wan tokenizer=tokenizer-wan
    "$python" export.py --model "$1" --vae "$out/$vae" --from "$out/$3" --tokenizer "$in/$tokenizer" --out "$out/checkpoint-$from" >"$out/logs/export-$from.log" 2>&1
    stage "figures-$from" "$2" evaluate.py ${WHAT:-subjects iou transfer} --model "$out/checkpoint-$from" $atlas --out "$out/figures-$from" --seeds "${SEEDS:-1}" \
        --settings "${4:-transfer-settings.json}" --seconds "${FIGURES:-60}"
}

# stages NAME: what of it was kept, as folders of OUT.
stages() {
    (cd "$out" && ls -d "$1"/stages/* "$1-plain"/stages/* "$1-plain" 2>/dev/null)
}
study() {
    local looks=../../experiments/models/looks.json
    (for from in $(stages demo); do figures demo 0 "$from" $looks; done) &
    (for from in $(stages demo-wan); do figures demo-wan "$second" "$from" $looks; done) &
    (for from in $(stages demo-animatediff); do figures demo-animatediff "$second" "$from" $looks; done) &
    wait
}

# Clips of noise: enough to rehearse with.
noise() {
    "$python" - "$out/noise" <<'PYTHON'
import sys, torch, pathlib
for name, channels, frames, vocabulary in (("data", 8, 16, 2648), ("data-wan", 16, 5, 604)):
    folder = pathlib.Path(sys.argv[1]) / name
    folder.mkdir(parents=True, exist_ok=True)
    n = 512
    ids = torch.zeros(n, 32, dtype=torch.int16)
    ids[:, :6] = torch.randint(3, vocabulary, (n, 6))
    torch.save({"latents": torch.randn(n, channels, frames, 16, 16).half(), "cover": torch.randint(255, (n, 3, frames, 16, 16)).byte(),
                "count": torch.ones(n).char(), "ids": ids, "at": torch.ones(n, 3, dtype=torch.int16), "empty": ids[0].long(),
                "vocabulary": vocabulary}, folder / "clips-0.pt")
PYTHON
}

all() {
    local share stages=0.1,0.25,0.5 before=${VAE_ELAPSED:-64}
    share() { echo $((seconds * $1 / 100)); }
    noise &
    "$python" scenes.py --out "$in"
    wait
    local more=(--seconds "$(share 8)")
    [ -d "$in/vae" ] && more=(--resume "$in/vae" --elapsed "$before" --seconds $(($(share 8) + before)))
    # Without grounding each has a quarter of the time of those that are shipped; their stages compare with the others'.
    (
        stage vae 0 $image --out "$out" "${more[@]}"
        stage data 0 encode_clips.py $atlas --vae "$out/vae" --tokenizer "$in/tokenizer" --out "$out/data" --seconds 45
        model demo 0 "$(share 60)" demo --stages $stages
        model demo 0 "$(share 15)" demo-plain --ground 0 --stages 0.5
        model demo-animatediff 0 "$(share 8)" demo-animatediff-plain --ground 0 --stages 0.5
    ) &
    local first=$!
    (
        stage vae-wan "$second" $clips --out "$out" --compile-after "$out/ready-vae-wan" --seconds "$(share 34)"
        stage data-wan "$second" encode_clips.py --model demo-wan $atlas --vae "$out/vae-wan" --tokenizer "$in/tokenizer-wan" --out "$out/data-wan" --seconds 40
        model demo-wan "$second" "$(share 22)" demo-wan --stages $stages
        model demo-animatediff "$second" "$(share 32)" demo-animatediff --stages $stages
        model demo-wan "$second" "$(share 5)" demo-wan-plain --ground 0 --stages 0.5
    ) &
    local last=$!
    (rehearse demo-short 0 $(denoiser demo "$out/noise") && short=0 && rehearse demo 0 $(denoiser demo "$out/noise")) &
    (
        rehearse vae-wan "$second" $clips
        rehearse demo-wan "$second" $(denoiser demo-wan "$out/noise")
        rehearse demo-animatediff-short "$second" $(denoiser demo-animatediff "$out/noise")
        short=0 && rehearse demo-animatediff "$second" $(denoiser demo-animatediff "$out/noise")
    ) &
    wait $first $last
    for name in demo demo-wan demo-animatediff; do figures $name 0 $name & done
    wait
}

# go_on NAME GPU SECONDS: the last two thirds of a training's schedule, from the weights that it had
go_on() {
    while [ ! -d "$in/$1/text_encoder" ]; do sleep 1; done
    stage "$1" "$2" $(denoiser "$1" "$out") --out "$out/$1" --resume "$in/$1" --elapsed $(($3 / 2)) --seconds $(($3 + $3 / 2)) --stages 0.5,0.7 --compile-after "$out/ready-$1"
}
# Three rows: on one GPU the third fills the gaps of the others.
more() {
    local share
    share() { echo $((seconds * $1 / 100)); }
    short=0.8
    local polish="$image --decoder-only --square 30 --edges 0.1 --rate 5e-4 --resume $in/vae"
    noise &
    "$python" scenes.py --out "$in"
    wait
    (
        stage data 0 encode_clips.py $atlas --vae "$in/vae" --tokenizer "$in/tokenizer" --out "$out/data" --seconds 60
        touch "$out/data/whole"
        go_on demo 0 "$(share 93)"
    ) &
    (
        # Its latents change with it, but what was trained on the old ones is a good start on the new.
        stage vae-wan "$second" $clips --out "$out" --resume "$in/vae-wan" --elapsed "$(share 16)" --pictures 0 --subject-weight 2 \
            --seconds "$(share 50)" --compile-after "$out/ready-vae-wan"
        stage data-wan "$second" encode_clips.py --model demo-wan $atlas --vae "$out/vae-wan" --tokenizer "$in/tokenizer-wan" --out "$out/data-wan" --seconds 45
        go_on demo-wan "$second" "$(share 60)"
    ) &
    (
        while [ ! -e "$out/data/whole" ]; do sleep 1; done
        go_on demo-animatediff "$second" "$(share 74)"
        stage vae "$second" $polish --out "$out" --seconds "$(share 19)" --compile-after "$out/ready-vae"
    ) &
    (rehearse demo-short 0 $(denoiser demo "$out/noise") && short=0 && rehearse demo 0 $(denoiser demo "$out/noise")) &
    (
        rehearse vae-wan "$second" $clips
        rehearse demo-wan "$second" $(denoiser demo-wan "$out/noise")
        rehearse vae "$second" $polish
    ) &
    (
        rehearse demo-animatediff-short "$second" $(denoiser demo-animatediff "$out/noise")
        short=0
        rehearse demo-animatediff "$second" $(denoiser demo-animatediff "$out/noise")
    ) &
    wait
    for name in demo demo-wan demo-animatediff; do figures $name 0 $name "${SETTINGS:-transfer-settings.json}" & done
    wait
}

case $mode in
all | more | study) "$mode" ;;
*) echo "train_all.sh all IN OUT SECONDS, more IN OUT SECONDS, study IN OUT, or pack OUT TO NAME..." && exit 2 ;;
esac
