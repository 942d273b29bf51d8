"""Runs the suites that come along, or what is not done of them; writes their tables and pictures to docs/results.md.

    python -m benchmarks.results [--root runs] [--write docs/results.md]

On two cores ``exercise3`` takes about half an hour, and ``mnist_published`` as long again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs by its path

from benchmarks.tables import write_tables
from mcubench.baselines import SVM
from mcubench.cli.main import main as mcubench
from mcubench.cost.units import bytes_text
from mcubench.results.result import read_result
from mcubench.suites import SUITES, find_suite


def support_vectors(root: Path) -> str:
    """What the kernel machine on nearly all of MNIST stores."""
    (run,) = (run for run in find_suite("mnist_published").runs(root) if run.row == "RBF SVM")
    (path,) = run.folder.glob("checkpoints/last.ckpt")
    machine = SVM.load_from_checkpoint(path, weights_only=True)
    row = read_result(run.folder)
    vectors, flash = int(machine.estimator.n_support_.sum()), bytes_text(row["flash_bytes"])
    return (
        f"The RBF SVM was fitted on {machine.fitted_on:,} samples in {row['seconds']['fit'] / 60:.1f} min, validation "
        f"included, and stores {vectors:,} support vectors: {flash} of flash ({row['form']}), "
        f"and {row['macs']:,} MACs a digit."
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs"), help="where the suites' folders lie (default: runs)")
    parser.add_argument("--write", type=Path, help="the page whose tables to replace; pictures go beside it")
    options = parser.parse_args()
    for suite in SUITES:
        if code := mcubench(["compare", "--suite", suite, "--root", str(options.root)]):
            return code
    vectors = support_vectors(options.root)
    print(vectors)
    if options.write:
        tables = {suite: (options.root / suite / f"{suite}.md").read_text("utf-8").strip() for suite in SUITES}
        write_tables(options.write, {**tables, "vectors": vectors})
        for picture in (options.root / "exercise3").glob("exercise3-*.png"):
            shutil.copy(picture, options.write.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
