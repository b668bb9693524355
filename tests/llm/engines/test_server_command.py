"""The command of a model server has the section's settings, by the engine's own names."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.engine_args import check_engine_args, complete_args, known_arguments, missing_extra
from lvqa_ray.llm.engines.served_endpoint import DEFAULT_SLOTS, SLOTS_ARGUMENT, ServedEndpoint
from lvqa_ray.llm.engines.server_command import gguf_files, server_command
from lvqa_ray.llm.engines.vllm_config import ingress_config, llm_config


def served(engine: str = "vllm", model: str = "Qwen/Qwen2.5-VL-7B-Instruct", **settings: Any) -> ServedEndpoint:
    return ServedEndpoint.model_validate({"engine": engine, "model": model, **settings})


def options(argv: tuple[str, ...]) -> dict[str, list[str]]:
    """The flags of a command, each with the words after it."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in argv:
        if word.startswith("--"):
            name = word
            found[name] = []
        elif name:
            found[name].append(word)
    return found


def test_vllm_gets_its_arguments_as_its_parser_reads_them() -> None:
    args = {
        "max_model_len": 32768,
        "limit_mm_per_prompt": {"image": 16},
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "cudagraph_capture_sizes": [1, 2, 4],
        "seed": None,
    }
    command = server_command(served(engine_args=args, gpus=2), "/models/qwen", "127.0.0.1", 8100)
    given = options(command.argv)
    assert "serve" in command.argv
    assert command.argv[command.argv.index("serve") + 1] == "/models/qwen"
    assert given["--served-model-name"] == ["Qwen/Qwen2.5-VL-7B-Instruct"], "the name that requests use"
    assert (given["--host"], given["--port"]) == (["127.0.0.1"], ["8100"])
    assert json.loads(given["--limit-mm-per-prompt"][0]) == {"image": 16}
    assert (given["--enforce-eager"], given["--no-enable-prefix-caching"]) == ([], [])
    assert given["--cudagraph-capture-sizes"] == ["1", "2", "4"]
    assert "--seed" not in given
    assert given["--tensor-parallel-size"] == ["2"], "it follows gpus"
    assert given["--max-num-seqs"] == [str(DEFAULT_SLOTS["vllm"])], (
        "the requests in flight and the engine's slots agree"
    )
    assert command.health == "/health"


def test_sglang_leaves_a_false_flag_out() -> None:
    args = {"context_length": 8192, "trust_remote_code": False, "enable_multimodal": True}
    given = options(server_command(served("sglang", engine_args=args, slots=8), "/m", "127.0.0.1", 8100).argv)
    assert given["--model-path"] == ["/m"]
    assert "--trust-remote-code" not in given
    assert "--no-trust-remote-code" not in given
    assert given["--enable-multimodal"] == []
    assert given["--max-running-requests"] == ["8"]


def test_llama_cpp_takes_no_more_cores_and_no_gpu_unless_given(tmp_path: Path) -> None:
    model = tmp_path / "small.gguf"
    model.write_bytes(b"GGUF")
    given = options(server_command(served("llama_cpp", str(model), cpus=3), str(model), "127.0.0.1", 8100).argv)
    assert (given["--threads"], given["--n-gpu-layers"], given["--parallel"]) == (["3"], ["0"], ["4"])
    assert given["--model"] == [str(model)]
    gpu = served("llama_cpp", str(model), gpus=1, engine_args={"threads": 8})
    given = options(server_command(gpu, str(model), "127.0.0.1", 8100).argv)
    assert (given["--threads"], given["--n-gpu-layers"]) == (["8"], ["999"])


def test_only_the_program_llama_server_downloads_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = "org/model-GGUF:Q4_K_M"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="xllamacpp downloads none from the hub"):
        server_command(served("llama_cpp", model), model, "::1", 1)
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    command = server_command(served("llama_cpp", model), model, "::1", 1)
    assert command.argv[0] == str(program)
    assert options(command.argv)["--hf-repo"] == [model]


def test_a_folder_of_gguf_files_is_one_model_with_its_projector(tmp_path: Path) -> None:
    for name in ("vlm-00001-of-00002.gguf", "vlm-00002-of-00002.gguf", "mmproj-vlm.gguf", "README.md"):
        (tmp_path / name).write_bytes(b"GGUF")
    assert gguf_files(tmp_path) == (tmp_path / "vlm-00001-of-00002.gguf", tmp_path / "mmproj-vlm.gguf")
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match=r"must hold one GGUF model, and holds other\.gguf, vlm-00001"):
        gguf_files(tmp_path)


def test_a_command_keeps_braces_that_are_no_placeholders() -> None:
    words = ["serve", "--model={model}", "--at", "{host}:{port}", "--slots", "{slots}", "--json", '{"image": 16}']
    command = server_command(served("command", "m", command=words, slots=3), "/m", "10.0.0.1", 8100)
    expected = ("serve", "--model=/m", "--at", "10.0.0.1:8100", "--slots", "3", "--json", '{"image": 16}')
    assert (command.argv, command.health) == (expected, "/v1/models")


@pytest.mark.parametrize(
    ("engine", "settings", "telling"),
    [
        (
            "vllm",
            {"engine_args": {"max_modellen": 1}},
            "max_modellen; the closest is engine_args.max_model_len",
        ),
        ("sglang", {"engine_args": {"context_len": 1}}, "the closest is engine_args.context_length"),
        ("llama_cpp", {"engine_args": {"ctx_siz": 1}}, "no argument ctx_siz; the closest is engine_args.ctx_size"),
        ("vllm", {"engine_args": {"--max-model-len": 1}}, "must be written max_model_len"),
        ("vllm", {"engine_args": {"served_model_name": "x"}}, "set model in this section instead"),
        ("vllm", {"engine_args": {"port": 1}}, "the run chooses the address"),
        ("sglang", {"engine_args": {"dp_size": 2}}, "set replicas in this section instead"),
        ("vllm", {"gpus": 2, "engine_args": {"tensor_parallel_size": 4}}, "but engine_args.tensor_parallel_size"),
        ("vllm", {"gpus": 0.5}, "set engine_args.gpu_memory_utilization to 0.5 or less"),
    ],
)
def test_a_wrong_argument_is_one_sentence_with_the_remedy(engine: str, settings: Any, telling: str) -> None:
    sentence = check_engine_args(served(engine, **settings))
    assert telling in sentence
    assert sentence.startswith("Qwen/Qwen2.5-VL-7B-Instruct on ")
    assert sentence.endswith(".")


def test_a_name_that_resembles_none_goes_to_the_engine() -> None:
    """It may be newer than the list; its own parser refuses what it does not know, before it loads a model."""
    assert check_engine_args(served(engine_args={"quantum_tunnelling": 1})) == ""


@pytest.mark.parametrize("engine", list(SLOTS_ARGUMENT))
def test_the_names_that_the_run_sets_are_known(engine: str) -> None:
    gpus = 4 if engine != "llama_cpp" else 0
    args = complete_args(served(engine, gpus=gpus))
    assert set(args) <= known_arguments(engine)
    assert check_engine_args(served(engine, gpus=gpus, engine_args=args)) == ""


def test_pipeline_parallelism_shares_the_gpus() -> None:
    args = complete_args(served(gpus=8, engine_args={"pipeline_parallel_size": 2}))
    assert args["tensor_parallel_size"] == 4


def test_a_missing_package_is_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvqa_ray.llm.engines.engine_args.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    assert missing_extra("vllm") == (
        'vLLM is not installed: on each node that serves the model, run pip install "lvqa-ray[vllm]" or install the '
        "program vllm."
    )
    assert missing_extra("command") == ""
    assert sys.executable not in server_command(served(), "m", "h", 1).argv, "vLLM's own program is in another Python"


def test_ray_serve_llm_gets_fixed_replicas_and_whole_nodes() -> None:
    fields = llm_config(served(gpus=2, cpus=4, slots=32, engine_args={"max_model_len": 4096}), "/m", 3)
    assert fields["model_loading_config"] == {"model_id": "Qwen/Qwen2.5-VL-7B-Instruct", "model_source": "/m"}
    assert fields["engine_kwargs"] == {"max_model_len": 4096, "max_num_seqs": 32, "tensor_parallel_size": 2}
    assert fields["placement_group_config"] == {"bundles": [{"GPU": 1.0}] * 2, "strategy": "STRICT_PACK"}
    assert fields["deployment_config"]["num_replicas"] == 3
    assert fields["deployment_config"]["ray_actor_options"] == {"num_cpus": 4}
    assert "autoscaling_config" not in fields["deployment_config"]
    assert [ingress_config(replicas)["num_replicas"] for replicas in (1, 4, 5, 8)] == [1, 1, 2, 2]
    json.dumps(fields)  # it crosses processes as plain data


@pytest.mark.parametrize(
    ("vllm", "needs", "usable"),
    [
        ("0.29.0", "vllm[audio]==0.29.0; extra == 'llm'", True),
        ("0.29.0+cu129", "vllm[audio]==0.29.0; extra == 'llm'", True),
        ("0.33.0", "vllm[audio]==0.29.0; extra == 'llm'", False),
        ("0.33.0", "vllm>=0.29.0; extra == 'llm'", True),
        ("", "vllm[audio]==0.29.0; extra == 'llm'", False),
    ],
)
def test_ray_serve_llm_is_used_with_its_own_release_of_vllm(
    monkeypatch: pytest.MonkeyPatch, vllm: str, needs: str, usable: bool
) -> None:
    from lvqa_ray.engine.ray.models import vllm_app

    def version(_: str) -> str:
        if not vllm:
            raise PackageNotFoundError
        return vllm

    monkeypatch.setattr(vllm_app, "version", version)
    monkeypatch.setattr(vllm_app, "requires", lambda _: ["numpy", needs])
    assert vllm_app.is_installed() is usable


def test_ray_serve_llm_builds_the_application(tmp_path: Path) -> None:
    """With vLLM's and Ray's own types; benchmarks/engine_args.py does the same in an environment of vLLM."""
    pytest.importorskip("vllm")
    from lvqa_ray.engine.ray.models.vllm_app import build

    config = {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert build(served(gpus=2), str(tmp_path), 2)
