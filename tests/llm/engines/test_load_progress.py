"""The panel says what a starting engine does, from the last step in its log."""

from __future__ import annotations

import pytest

from lvqa_ray.llm.engines.load_progress import loading_progress

START = "INFO 06-30 13:53:12 [gpu_model_runner.py:1595] Starting to load model Qwen/Qwen2.5-VL-7B-Instruct...\n"
SHARDS = START + "".join(
    f"\rLoading safetensors checkpoint shards:  {20 * done}% Completed | {done}/5 [00:0{done}<00:03,  1.2s/it]"
    for done in range(4)
)
LOADED = SHARDS + "\nINFO 06-30 13:53:20 [default_loader.py:272] Loading weights took 5.20 seconds\n"
GRAPHS = (
    LOADED + "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  42%|████▏     | 28/67 [00:02<00:03, 12.1it/s]"
)


@pytest.mark.parametrize(
    ("log", "doing"),
    [
        ("", ""),
        ("INFO 06-30 13:53:10 [api_server.py:1287] vLLM API server version 0.29.0", ""),
        ("model-00001-of-00005.safetensors:  42%|████▏     | 1.66G/3.95G [00:10<00:14, 160MB/s]", "downloading 42 %"),
        ("Fetching 5 files:  40%|████      | 2/5 [00:10<00:15,  5.1s/it]", "downloading 40 %"),
        (START, "loading weights"),
        (SHARDS, "loading weights 3 of 5"),
        (LOADED, "weights loaded"),
        (LOADED + "INFO [backends.py:215] Compiling a graph for dynamic shape takes 12 s", "compiling"),
        (GRAPHS, "capturing graphs 28 of 67"),
        (GRAPHS + "\nINFO:     Application startup complete.", "ready"),
        ("[2025-07-02 07:41:58 TP0] Load weight begin. avail mem=78.50 GB", "loading weights"),
        (
            "[2025-07-02 07:41:58 TP0] Capture cuda graph begin. This can take up to several minutes.\n"
            "Capturing batches (bs=160 avail_mem=9.65 GB):   4%|▍         | 1/23 [00:01<00:22,  1.03s/it]",
            "capturing graphs 1 of 23",
        ),
        ("srv    load_model: loading model 'small.gguf'\n", "loading weights"),
        ("main: server is listening on http://127.0.0.1:8100 - starting the main loop", "ready"),
    ],
)
def test_the_last_step_counts(log: str, doing: str) -> None:
    assert loading_progress(log) == doing
