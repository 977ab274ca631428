"""Size and exactness of a bundle of training data.

python benchmarks/bundle_size.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from foldry.dataset.packs import Library
from foldry.train.bundle import pack, unpack
from foldry.weights.bundled import MINI
from script import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of packs")
    data = parser.parse_args().data
    weights = MINI
    with tempfile.TemporaryDirectory() as name:
        bundle, back = Path(name) / "bundle", Path(name) / "data"
        began = time.process_time()
        parts = pack(data, bundle, weights)
        packed = time.process_time()
        unpack(bundle, back)
        unpacked = time.process_time()
        before, after = Library(data, []), Library(back, [])
        errors = []
        for chain in after.structures.place:
            one, other = before.chain(chain), after.chain(chain)
            errors.append(np.linalg.norm(one.positions - other.positions, axis=-1)[one.mask > 0])
    error = np.concatenate(errors)
    for part in parts:
        print(f"{part.name}  {part.size / 2**20:.2f} MiB")
    held = weights.stat().st_size / 2**20
    print(f"{len(errors)} chains, {len(error)} atoms, weights of {held:.2f} MiB")
    rms = np.sqrt(np.mean(error**2))
    print(f"error of an atom: {rms:.4f} Å root mean square, {error.max():.4f} Å at most")
    print(f"processor time: pack {packed - began:.0f} s, unpack {unpacked - packed:.0f} s")


if __name__ == "__main__":
    run_script(main)
