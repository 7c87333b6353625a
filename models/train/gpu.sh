#!/usr/bin/env bash
# Trains materials with maps and text on a machine that has a GPU and no network, within minutes. travel.py says what
# LUGGAGE is, what HOME gets, and how both travel.
#
#   bash models/train/gpu.sh LUGGAGE HOME [WORK]
#
# Minutes of each stage: AUTOENCODER, PREDICTOR, REFINER and DECODER in the environment; LIMIT ends all of it. The rest
# is what starting and encoding take, about a minute. The same command again on the same machine goes on where it ended;
# with LUGGAGE/home, from that. EXTRA are more options of run.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
luggage=$1 home=$2 work=${3:-work}
python=${PYTHON:-python3}
autoencoder=${AUTOENCODER:-2.5} predictor=${PREDICTOR:-2.5} refiner=${REFINER:-0.75} decoder=${DECODER:-0.75}
limit=${LIMIT:-8}

export PYTHONPATH="$luggage/packages" PYTHONUNBUFFERED=1
if [ -d "$luggage/home" ] && [ ! -e "$work" ]; then
  "$python" models/train/travel.py unpack --home "$luggage/home" --out "$work"
fi
read -ra extra <<<"${EXTRA:-}"
# Compiling takes longer than it saves in minutes.
timeout --signal=INT "$(awk "BEGIN { print int(60 * $limit) }")" "$python" models/train/run.py \
  --data "$luggage/data.pack" --out "$work" --stage autoencoder,predictor,refiner,decoder \
  --maps --text --size 256 --factor 16 --latent-channels 32 --hidden 320 --depth 8 --heads 5 --refiner-hidden 192 \
  --turn dirt,forest_floor,grass,sand,snow,rock --shifts 2 --compile off \
  --autoencoder-minutes "$autoencoder" --predictor-minutes "$predictor" --refiner-minutes "$refiner" \
  --decoder-minutes "$decoder" --autoencoder-steps 1000000 --predictor-steps 1000000 --refiner-steps 1000000 \
  --decoder-steps 1000000 --autoencoder-batch 32 --decoder-batch 32 --predictor-batch 256 --refiner-batch 256 \
  "${extra[@]}" || echo "ended early: what is there comes back"
"$python" models/train/travel.py send --work "$work" --out "$home"
