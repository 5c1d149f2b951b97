#!/bin/sh
# All that takes a GPU, on a machine with a torch of its own; its steps are limited to ten minutes together:
#
#     benchmarks/on_gpu.sh OUT [WHEELS]
#
# the tests that need CUDA, the benchmark, and the run of CONFIG (config/brain_tumor.yaml) from images
# to report. Each leaves its log and results in OUT as it ends, whatever becomes of the others.
# Without a network WHEELS is a folder of wheels: what envs/requirements.txt names and PYTHON (python3)
# lacks, torch excepted. Nothing is installed beside what the machine has.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd)
wheels=${2:+$(cd "$2" && pwd)}
python=${PYTHON:-python3}
config=${CONFIG:-config/brain_tumor.yaml}
cd "$(dirname "$0")/.."

site=$(mktemp -d)
if [ -n "$wheels" ]; then
	"$python" -m pip install --quiet --no-index --no-deps --target "$site" "$wheels"/*.whl
else
	grep -v '^torch==' envs/requirements.txt >"$site/lock.txt"
	"$python" -m pip install --quiet --no-deps --target "$site" --requirement "$site/lock.txt"
fi
export PYTHONPATH="$site"

step() { # name, seconds at most, command
	name=$1 limit=$2 start=$(date +%s) status=0
	shift 2
	timeout --kill-after=15 "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
	echo "$name: exit status $status, $(($(date +%s) - start)) s" | tee -a "$out/steps.txt"
}
"$python" -c 'import torch; print(torch.__version__, torch.cuda.is_available() and torch.cuda.get_device_name())' | tee "$out/machine.txt"
step tests 90 "$python" -m pytest -q -p no:cacheprovider -m cuda tests/models
step bench 120 "$python" benchmarks/run.py --out "$out/bench"
step run 290 "$python" -m snakemake --cores all --workflow-profile workflow/profiles/gpu \
	--configfile "$config" --report "$out/report.html" --report-after-run
run=$(sed -n 's/^run: *//p' "$config")
for file in metrics.tsv provenance.json tables/latent_dimension.md tables/methods.md; do
	cp "results/$run/$file" "$out/" || true
done
step trials 60 "$python" benchmarks/run.py --trials --out "$out/trials"
