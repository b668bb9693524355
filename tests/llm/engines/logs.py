"""Ends of engines' logs, from public bug reports: where each was seen, and the sentence that a user reads instead."""

from __future__ import annotations

from typing import NamedTuple


class LogEnd(NamedTuple):
    """One log, cut to the lines that tell something."""

    seen: str
    engine: str
    text: str
    sentence: str


LOGS = [
    LogEnd(
        "vllm-project/vllm#10439",
        "vllm",
        """vllm-1  | ERROR 11-18 18:07:28 engine.py:366]     raise ValueError("No available memory for the cache blocks. "
vllm-1  | ERROR 11-18 18:07:28 engine.py:366] ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.""",
        "The model leaves no memory of the GPU for the KV cache: raise engine_args.gpu_memory_utilization, lower "
        "engine_args.max_model_len, give a replica more GPUs (gpus), or choose a smaller or quantized model.",
    ),
    LogEnd(
        "sgl-project/sglang#4330",
        "sglang",
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
        "The model leaves no memory of the GPU for the KV cache: raise engine_args.mem_fraction_static, lower "
        "engine_args.context_length, give a replica more GPUs (gpus), or choose a smaller or quantized model.",
    ),
    LogEnd(
        "vllm-project/vllm#23192",
        "vllm",
        """(EngineCore_0 pid=1810465) ERROR 09-03 11:03:37 [core.py:712] ValueError: Free memory on device (7.34/139.72 GiB) on startup is less than desired GPU memory utilization (0.9, 125.75 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.
(EngineCore_0 pid=1810465) Process EngineCore_0:""",
        "Only 7.34 of 139.72 GiB of the GPU's memory are free, and vLLM wants 125.75: end what else uses the GPU, or set "
        "engine_args.gpu_memory_utilization to 0.05 or less.",
    ),
    LogEnd(
        "pytorch/pytorch#175666",
        "vllm",
        "ValueError: Free memory on device cuda:0 (19.77/22.05 GiB) on startup is less than desired GPU memory utilization "
        "(0.9, 19.84 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        "Only 19.77 of 22.05 GiB of the GPU's memory are free, and vLLM wants 19.84: end what else uses the GPU, or set "
        "engine_args.gpu_memory_utilization to 0.89 or less.",
    ),
    LogEnd(
        "QwenLM/Qwen3#295",
        "vllm",
        "ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that can be stored in KV "
        "cache (7344). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
        "A context of 32768 tokens needs more memory than the GPU has left, which is enough for 7344: set "
        "engine_args.max_model_len to 7344 or less, raise engine_args.gpu_memory_utilization, or use more GPUs (gpus).",
    ),
    LogEnd(
        "vllm-project/vllm#34076",
        "vllm",
        "(EngineCore_DP0 pid=1094) ValueError: To serve at least one request with the models's max seq len (262144), (24.0 "
        "GiB KV cache is needed, which is larger than the available KV cache memory (3.18 GiB). Based on the available "
        "memory, the estimated maximum model length is 34736. Try increasing `gpu_memory_utilization` or decreasing "
        "`max_model_len` when initializing the engine.",
        "A context of 262144 tokens needs more memory than the GPU has left, which is enough for 34736: set "
        "engine_args.max_model_len to 34736 or less, raise engine_args.gpu_memory_utilization, or use more GPUs (gpus).",
    ),
    LogEnd(
        "vllm-project/vllm#16118",
        "vllm",
        "ERROR 04-05 01:12:55 [core.py:390] ValueError: To serve at least one request with the models's max seq len "
        "(1048576), (24.00 GiB KV cache is needed, which is larger than the available KV cache memory (9.97 GiB). Try "
        "increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
        "A context of 1048576 tokens needs more memory than the GPU has left (9.97 GiB): lower engine_args.max_model_len, "
        "raise engine_args.gpu_memory_utilization, or use more GPUs (gpus).",
    ),
    LogEnd(
        "vllm-project/vllm#27508",
        "vllm",
        """(EngineCore_DP0 pid=8884)     logits = logits.to(torch.float32)
(EngineCore_DP0 pid=8884) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 786.00 MiB. GPU 0 has a total capacity of 79.11 GiB of which 140.75 MiB is free. Process 3270336 has 78.96 GiB memory in use.
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore_DP0': 1}""",
        "The memory of the GPU (79.11 GiB) is too small: lower engine_args.max_model_len or slots, give a replica more GPUs "
        "(gpus), or choose a smaller or quantized model.",
    ),
    LogEnd(
        "ollama/ollama#9295",
        "llama_cpp",
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 15130.00 MiB on device 0: cudaMalloc failed: out of memory\n"
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
        "The memory of the GPU is too small: lower engine_args.ctx_size, engine_args.n_gpu_layers or slots, or choose a "
        "smaller or more quantized model.",
    ),
    LogEnd(
        "sgl-project/sglang#14644",
        "sglang",
        """OSError: You are trying to access a gated repo.
Make sure to have access to it at https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct.
401 Client Error. (Request ID: Root=1-695139c1-20c276683bbfa05022511a7b;379c2def-ca77-4fc6-9489-6fc1f7a44e40)

Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct/resolve/main/config.json.
Access to model meta-llama/Llama-3.2-1B-Instruct is restricted. You must have access to it and be authenticated to access it. Please log in.""",
        "The hub gives meta-llama/Llama-3.2-1B-Instruct only to accounts that accepted its licence: accept it on the page of "
        "the model, and set HF_TOKEN on the nodes that serve it.",
    ),
    LogEnd(
        "McGill-NLP/llm2vec#36",
        "vllm",
        "HTTPError: 403 Client Error: Forbidden for url: "
        "https://huggingface.co/meta-llama/Meta-Llama-3-8B-Instruct/resolve/main/config.json",
        "The hub gives meta-llama/Meta-Llama-3-8B-Instruct only to accounts that accepted its licence: accept it on the page "
        "of the model, and set HF_TOKEN on the nodes that serve it.",
    ),
    LogEnd(
        "boheumd/MA-LMM#9",
        "vllm",
        "OSError: llm/vicuna-7b is not a local folder and is not a valid model identifier listed on "
        "'https://huggingface.co/models'\nIf this is a private repository, make sure to pass a token having permission to "
        "this repo either by logging in with `huggingface-cli login` or by passing `token=<your_token>`",
        "The hub has no model llm/vicuna-7b, or it is private: correct the setting model; a private one needs HF_TOKEN on the nodes that "
        "serve it.",
    ),
    LogEnd(
        "AUTOMATIC1111/stable-diffusion-webui#16658",
        "sglang",
        "requests.exceptions.HTTPError: 404 Client Error: Not Found for url: "
        "https://huggingface.co/None/resolve/main/config.json",
        "The hub has no model None, or it is private: correct the setting model; a private one needs HF_TOKEN on the nodes that serve "
        "it.",
    ),
    LogEnd(
        "vllm-project/vllm#17877",
        "vllm",
        "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': "
        "'/app/bge_m3'. Use `repo_type` argument if needed.",
        "There is no model at /app/bge_m3 on the node that serves it: correct the setting model, or put the files where each of these "
        "nodes sees them (a shared disk or a bucket).",
    ),
    LogEnd(
        "ggml-org/llama.cpp#15919",
        "llama_cpp",
        """main: loading model
srv    load_model: loading model '/home/user/models/ggml-org/gemma-3-12b-it-qat-q4_0.gguf'
gguf_init_from_file: failed to open GGUF file '/home/user/models/ggml-org/gemma-3-12b-it-qat-q4_0.gguf'
llama_model_load: error loading model: llama_model_loader: failed to load model
llama_model_load_from_file_impl: failed to load model
common_init_from_params: failed to load model '/home/user/models/ggml-org/gemma-3-12b-it-qat-q4_0.gguf', try reducing --n-gpu-layers if you're running out of VRAM""",
        "There is no model at /home/user/models/ggml-org/gemma-3-12b-it-qat-q4_0.gguf on the node that serves it: correct "
        "the setting model, or put the files where each of these nodes sees them (a shared disk or a bucket).",
    ),
    LogEnd(
        "lllyasviel/Fooocus#1313",
        "vllm",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by "
        "downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx",
        "The NVIDIA driver of the node, which supports CUDA 11.4, is too old for this vLLM: update the driver, or install a "
        "build for an older CUDA.",
    ),
    LogEnd(
        "substratusai/vllm-docker#37",
        "vllm",
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has "
        "compute capability 7.5. You can use float16 instead by explicitly setting the`dtype` flag in CLI, for example: "
        "--dtype=half.",
        "The GPU (Tesla T4) has no bfloat16: set engine_args.dtype to half, or use a newer GPU.",
    ),
    LogEnd(
        "vllm-project/vllm#36802",
        "vllm",
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 81920, Hardware limit: 65536. "
        "Reducing block sizes or `num_stages` may help.",
        "A kernel needs 80 KiB of shared memory on the chip, and this kind of GPU has 64 KiB: choose another "
        "engine_args.attention_backend, or use a newer GPU.",
    ),
    LogEnd(
        "vllm-project/vllm#7514",
        "vllm",
        """    temp_socket.bind(("", args.port))
OSError: [Errno 98] Address already in use
WARNING 10-10 10:22:58 _custom_ops.py:18] Failed to import from vllm._C with ImportError('libcuda.so.1: cannot open shared object file: No such file or directory')""",
        "Another program on the node uses its port: start the run again, which takes another port, or end that program.",
    ),
    LogEnd(
        "vllm-project/vllm#7514 (title)",
        "sglang",
        "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
        "Another program on the node uses port 8000: start the run again, which takes another port, or end that program.",
    ),
    LogEnd(
        "PiDanShouRouZhouXD/Sakura_Launcher_GUI#71",
        "llama_cpp",
        """main: binding port with default address family
main: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080
srv   operator (): operator (): cleaning up before exit...""",
        "Another program on the node uses port 8080: start the run again, which takes another port, or end that program.",
    ),
    LogEnd(
        "vllm-project/vllm#46325",
        "vllm",
        "vllm: error: unrecognized arguments: -language-model-onli",
        "vLLM does not know the argument -language-model-onli: the closest is engine_args.language_model_only.",
    ),
    LogEnd(
        "vllm-project/vllm-omni#1364",
        "vllm",
        "usage: vllm [-h] [-v] {chat,complete,serve,bench,collect-env,run-batch} ...\n"
        "vllm: error: unrecognized arguments: --omni",
        "vLLM does not know the argument --omni: remove it from engine_args.",
    ),
    LogEnd(
        "vllm-project/vllm#9515",
        "vllm",
        "ValueError: Model architectures ['LlamaForCausalLM'] are not supported for now. Supported architectures: "
        "['AquilaModel', 'AquilaForCausalLM', 'ArcticForCausalLM']",
        "This version of vLLM does not support the architecture of the model (LlamaForCausalLM): install a newer version on "
        "the nodes that serve it, or choose another model.",
    ),
    LogEnd(
        "ollama/ollama#15546",
        "llama_cpp",
        "llama_model_load: error loading model: error loading model architecture: unknown model architecture: 'gemma4'\n"
        "llama_model_load_from_file_impl: failed to load model",
        "This version of llama.cpp does not support the architecture of the model (gemma4): install a newer version on the "
        "nodes that serve it, or choose another model.",
    ),
    LogEnd(
        "sgl-project/sglang#12835",
        "sglang",
        "ValueError: Qwen3NextForCausalLM has no SGlang implementation and the Transformers implementation is not compatible "
        "with SGLang.",
        "This version of SGLang does not support the architecture of the model (Qwen3NextForCausalLM): install a newer "
        "version on the nodes that serve it, or choose another model.",
    ),
    LogEnd(
        "THU-KEG/AdaptThink#1",
        "vllm",
        "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8)",
        "The model has 28 attention heads, which 8 GPUs cannot share: set gpus to one of 1, 2, 4, 7, 14.",
    ),
    LogEnd(
        "sgl-project/sglang#3687",
        "sglang",
        "ModuleNotFoundError: No module named 'sgl_kernel'",
        "The Python package sgl_kernel is missing on the node that serves the model: {install}.",
    ),
    LogEnd(
        "vllm-project/vllm#52300",
        "vllm",
        "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
        "vLLM and its libraries on the node do not fit together (libcudart.so.13): install it into an environment of its "
        "own, in the build for the node's CUDA.",
    ),
    LogEnd(
        "ai-dynamo/dynamo#391",
        "vllm",
        '    raise RuntimeError("Failed to infer device type")\nRuntimeError: Failed to infer device type',
        "vLLM finds no GPU on the node: check nvidia-smi there, or that the container is given its GPUs.",
    ),
    LogEnd(
        "langchain-ai/langchain#10226",
        "llama_cpp",
        "gguf_init_from_file: invalid magic number 00029880\n"
        "error loading model: llama_model_loader: failed to load model from D:\\model.safetensors",
        "The file of the model is no GGUF file, or one of an old form: give a current .gguf file as model.",
    ),
    LogEnd(
        "wombyz/gpt4all_langchain_chatbots#9",
        "llama_cpp",
        "error loading model: unexpectedly reached end of file\nllama_init_from_file: failed to load model",
        "llama.cpp cannot load the model: unexpectedly reached end of file; check that its file is complete.",
    ),
    LogEnd(
        "vllm-project/vllm#6574 (title)",
        "vllm",
        "ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.",
        "The GPUs of a replica do not reach each other (NCCL): set NCCL_DEBUG=INFO on the node to see why, or set gpus to 1.",
    ),
    LogEnd(
        "sgl-project/sglang#5762",
        "sglang",
        "    faulthandler.enable()\nOSError: [Errno 12] Cannot allocate memory",
        "The memory of the node is too small: lower engine_args.context_length or slots, or use a node with more memory.",
    ),
    LogEnd(
        "ggml-org/llama.cpp#8101",
        "llama_cpp",
        """llama_new_context_with_model: n_ctx      = 1048576
ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 137438953504
llama_kv_cache_init: failed to allocate buffer for kv cache
llama_new_context_with_model: llama_kv_cache_init() failed for self-attention cache""",
        "The memory of the node, asked for 137.4 GB at once, is too small: lower engine_args.ctx_size or slots, or use a node "
        "with more memory.",
    ),
    LogEnd(
        "gpustack/gpustack#3848",
        "sglang",
        """[12-11 17:52:52] Rank 0 scheduler is dead. Please check if there are relevant logs.
[12-11 17:52:54] Exit code: -9""",
        "The system killed a process of SGLang, most often because the node has too little memory: use a node with more "
        "memory.",
    ),
    LogEnd(
        "sgl-project/sglang#8974",
        "sglang",
        """RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)
[2025-08-08 09:09:09] Received sigquit from a child process. It usually means the child failed.""",
        "The GPUs of a replica do not reach each other (NCCL): set NCCL_DEBUG=INFO on the node to see why, or set gpus to 1.",
    ),
    LogEnd(
        "sgl-project/sglang#4503",
        "sglang",
        """[2025-03-17 17:15:55 TP1] Scheduler hit an exception: Traceback (most recent call last):
  File "/sgl-workspace/sglang/python/sglang/srt/model_executor/model_runner.py", line 417, in load_model
    raise ValueError(
ValueError: TP rank 1 could finish the model loading, but there are other ranks that didn't finish loading.
[2025-03-17 17:15:56] Received sigquit from a child process. It usually means the child failed.""",
        "Its last error: ValueError: TP rank 1 could finish the model loading, but there are other ranks that didn't finish "
        "loading.",
    ),
    LogEnd(
        "vllm-project/vllm#52435",
        "vllm",
        """pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig
  Value error, n_physical_experts must be divisible by ep_size. [type=value_error, input_value=ArgsKwargs((), {'model_co...additional_config': {}}), input_type=ArgsKwargs]
    For further information visit https://errors.pydantic.dev/2.12/v/value_error""",
        "Its last error: n_physical_experts must be divisible by ep_size.",
    ),
]
