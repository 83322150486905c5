"""Evaluate a small random model with the installed llama.cpp: exits 0, or dies by the signal that the library dies of.

Q8_0 matrices and a batch of 64 tokens take the paths that real models take (among them AMX, where it was compiled in).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import llama_cpp

from tests.fixtures.random_gguf import write_random_gguf


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="zoe-selftest-") as folder:
        path = write_random_gguf(Path(folder, "random.gguf"), layers=2, width=256, heads=4, ffn=512, q8=True)
        model = llama_cpp.Llama(str(path), n_ctx=256, n_batch=64, verbose=False)
        model.eval(list(range(64)))
        model.eval([1])
        model.close()
    print(f"llama-cpp-python {llama_cpp.__version__} works")


if __name__ == "__main__":
    main()
