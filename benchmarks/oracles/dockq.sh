#!/bin/sh
# Makes tests/golden/dockq_complexes.npz and dockq_scores.json again, from the repository's root:
#
#     sh benchmarks/oracles/dockq.sh [FOLDER]
#
# Needs Debian's package theseus-examples, a C compiler and .venv. The DockQ package asks for
# NumPy < 2, so it gets a virtual environment of its own in FOLDER (a temporary one if left out).
set -eu
work=${1:-$(mktemp -d)}
python=.venv/bin/python
if [ ! -x "$work/venv/bin/DockQ" ]; then
    $python -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet 'numpy<2' DockQ==2.1.3
fi
PYTHONPATH=. $python benchmarks/oracles/dockq_inputs.py "$work/cases"
"$work/venv/bin/python" benchmarks/oracles/dockq_run.py "$work/cases" tests/golden/dockq_scores.json
cp "$work/cases/dockq_complexes.npz" tests/golden/
