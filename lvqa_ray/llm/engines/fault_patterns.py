"""Texts of known faults in the logs of model servers, and what a user reads instead. The first that matches wins.

The texts are those of vLLM, SGLang, llama.cpp and of the libraries below them, from public bug reports
(``tests/llm/engines/test_log_faults.py``). A sentence may hold ``{title}``, ``{context}``, ``{memory}``, ``{smaller}``
(see `settings_of`), the groups of its pattern, ``{name}`` (the first group that matched), and what `derive` adds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from lvqa_ray.llm.engines.engine_args import ENGINE_TITLES, known_arguments, missing_extra

_REPO = r"[\w.-]+/[\w-][\w.-]*[\w-]"
_WEIGHTS = r"[^'\n]+\.(?:gguf|json|safetensors|bin)"
_Groups = Mapping[str, str]
PORT_TAKEN = re.compile(
    r"couldn't bind (?:HTTP server|to server) socket[^\n]*?port[:=] ?(?P<one>\d+)"
    r"|attempting to bind on address \('[^']*', (?P<two>\d+)[^)]*\)"
    r"|[Pp]ort (?P<three>\d+) is (?:already )?(?:in use(?!, trying)|not available|occupied)"
    r"|[Aa]ddress already in use|EADDRINUSE"
)
"""Another program has the port of the server."""


@dataclass(frozen=True, slots=True)
class FaultPattern:
    """One fault.

    Attributes:
        pattern: Text in the log.
        sentence: Template of the sentence.
        derive: Computes further values of the template from the groups and the engine's name.
    """

    pattern: re.Pattern[str]
    sentence: str
    derive: Callable[[_Groups, str], _Groups] | None = None

    def told(self, found: re.Match[str], engine: str) -> str:
        """The sentence for a match in the log of an engine."""
        groups = {name: value or "" for name, value in found.groupdict().items()}
        name = next((value for value in groups.values() if value), "")
        values = settings_of(engine) | groups | {"name": name}
        return self.sentence.format(**{**values, **(self.derive(values, engine) if self.derive else {})})


def settings_of(engine: str) -> dict[str, str]:
    """An engine's name, and the names of its settings in the remedies."""
    title, context, memory = {
        "vllm": ("vLLM", "engine_args.max_model_len", "engine_args.gpu_memory_utilization"),
        "sglang": ("SGLang", "engine_args.context_length", "engine_args.mem_fraction_static"),
        "llama_cpp": ("llama.cpp", "engine_args.ctx_size", "engine_args.n_gpu_layers"),
    }.get(engine, ("The server", "its context length", "its share of the GPU's memory"))
    smaller = (
        f"lower {context} or slots, give a replica more GPUs (gpus), or choose a smaller or quantized model"
        if engine != "llama_cpp"
        else f"lower {context}, {memory} or slots, or choose a smaller or more quantized model"
    )
    return {"title": title, "context": context, "memory": memory, "smaller": smaller}


def _model(values: _Groups, _: str) -> _Groups:
    return {"name": values["name"] or "this model"}


def _cuda(values: _Groups, _: str) -> _Groups:
    version = int(values["found"] or 0)
    return {"cuda": f", which supports CUDA {version // 1000}.{version % 1000 // 10}," if version else ""}


def _kib(values: _Groups, _: str) -> _Groups:
    return {name: str(int(values[name]) // 1024) for name in ("needs", "has")}


def _share(values: _Groups, _: str) -> _Groups:
    return {"share": f"{math.floor(100 * float(values['free']) / float(values['all'])) / 100:g}"}


def _size(values: _Groups, _: str) -> _Groups:
    return {"size": f" ({values['name']})" if values["name"] else ""}


def _asked(values: _Groups, _: str) -> _Groups:
    return {"size": f", asked for {int(values['one']) / 1e9:.1f} GB at once," if values["one"] else ""}


def _port(values: _Groups, _: str) -> _Groups:
    return {"port": f"port {values['name']}" if values["name"] else "its port"}


def _argument(values: _Groups, engine: str) -> _Groups:
    plain = values["name"].lstrip("-").replace("-", "_")
    known = known_arguments(engine)
    closest = get_close_matches(plain, known, 1, 0.6)
    advice = f"the closest is engine_args.{closest[0]}" if closest else "remove it from engine_args"
    if plain in known:
        other = "the program llama-server" if engine == "llama_cpp" else "another release"
        advice = f"remove it from engine_args, or install {other} on the nodes that serve the model"
    title = "xllamacpp" if values["five"] else ENGINE_TITLES.get(engine, "The server")
    return {"title": title, "advice": advice}


def _divisors(values: _Groups, _: str) -> _Groups:
    heads = int(values["heads"])
    return {"fitting": ", ".join(str(number) for number in range(1, 17) if heads % number == 0)}


def _package(values: _Groups, engine: str) -> _Groups:
    remedy = missing_extra(engine).partition(": ")[2] or f"install it there, next to {values['title']}."
    return {"package": values["name"].partition(".")[0], "remedy": remedy.rstrip(".")}


def _library(values: _Groups, _: str) -> _Groups:
    return {"library": f" ({values['name']})" if values["name"] else ""}


_TABLE: tuple[tuple[str, str, Callable[[_Groups, str], _Groups] | None], ...] = (
    (
        rf"Access to model (?P<one>{_REPO}) is restricted|gated repo[^\n]*\n?[^\n]*?huggingface\.co/(?P<two>{_REPO})"
        rf"|403 Client Error: Forbidden for url: https://huggingface\.co/(?P<three>{_REPO})/"
        r"|GatedRepoError|[Cc]annot access gated repo",
        "The hub gives {name} only to accounts that accepted its licence: accept it on the page of the model, and set "
        "HF_TOKEN on the nodes that serve it.",
        _model,
    ),
    (
        r"Invalid user token|Invalid credentials in Authorization header|Invalid username or password",
        "The hub does not accept the token in HF_TOKEN: set a valid one on the nodes that serve the model.",
        None,
    ),
    (
        r"Repo id must be in the (?:form|from) [^\n]*?: '(?P<one>/[^']+)'"
        rf"|(?:failed to open GGUF file|No such file or directory:?) '(?P<two>{_WEIGHTS})'"
        r"|(?<!\S)(?P<three>/\S+) (?:does not appear to have a file named|is not a local folder and is not)",
        "There is no model at {name} on the node that serves it: correct the setting model, or put the files where "
        "each of these nodes sees them (a shared disk or a bucket).",
        None,
    ),
    (
        r"(?P<one>[\w.-]+(?:/[\w.-]+)?) is not a local folder and is not a valid model identifier"
        r"|(?:40[14] Client Error|Repository Not Found)[^\n]*?huggingface\.co/(?:api/models/)?"
        r"(?P<two>[\w.-]+(?:/[\w.-]+)?)(?=/resolve|/tree|/revision|\.?\s|\.?$)"
        r"|Invalid repository ID or local directory specified: '(?P<three>[^']+)'"
        r"|Repository Not Found for url|RepositoryNotFoundError",
        "The hub has no model {name}, or it is private: correct the setting model; a private one needs HF_TOKEN on the "
        "nodes that serve it.",
        _model,
    ),
    (
        r"[Cc]ouldn't connect to '?https://huggingface\.co|LocalEntryNotFoundError|OfflineModeIsEnabled"
        r"|(?:Max retries exceeded|Failed to resolve|Cannot connect to host)[^\n]*huggingface\.co"
        r"|huggingface\.co[^\n]*Max retries exceeded",
        "The node that serves the model does not reach the hub: give a local folder or a bucket as model, or set "
        "HF_ENDPOINT to a mirror.",
        None,
    ),
    (
        r"NVIDIA driver on your system is too old(?: \(found version (?P<found>\d+)\))?"
        r"|CUDA driver version is insufficient|unsupported display driver / cuda driver combination"
        r"|forward compatibility was attempted on non supported HW",
        "The NVIDIA driver of the node{cuda} is too old for this {title}: update the driver, or install a build for an "
        "older CUDA.",
        _cuda,
    ),
    (
        r"Bfloat16 is only supported on GPUs with compute capability of at least [\d.]+\s+"
        r"Your (?P<gpu>[^\n]+?) GPU has compute capability",
        "The GPU ({gpu}) has no bfloat16: set engine_args.dtype to half, or use a newer GPU.",
        None,
    ),
    (
        r"no kernel image is available for execution|GPUs with compute capability below [\d.]+ are not supported",
        "This {title} has no code for the GPU of the node: use a newer GPU, or a build for this one.",
        None,
    ),
    (
        r"out of resource: shared memory, Required: (?P<needs>\d+),[,\s]*Hardware limit: (?P<has>\d+)",
        "A kernel needs {needs} KiB of shared memory on the chip, and this kind of GPU has {has} KiB: choose another "
        "engine_args.attention_backend, or use a newer GPU.",
        _kib,
    ),
    (
        r"insufficient shared memory \(shm\)|(?:/dev/shm|shared memory)[^\n]*No space left"
        r"|No space left on device[^\n]*(?:/dev/shm|psm_|torch_)|Error while creating shared memory segment"
        r"|unable to (?:write|mmap|open|resize)[^\n]*(?:shared memory|/torch_|/dev/shm)",
        "The shared memory of the container (/dev/shm) is too small: start it with more (--shm-size, or on Kubernetes "
        "an emptyDir with medium Memory).",
        None,
    ),
    (
        r"max seq len \((?P<wants>\d+)\)(?s:.{0,400}?)(?:estimated maximum model length is (?P<one>\d+)"
        r"|stored in KV cache \((?P<two>\d+)\))",
        "A context of {wants} tokens needs more memory than the GPU has left, which is enough for {one}{two}: set "
        "{context} to {one}{two} or less, raise {memory}, or use more GPUs (gpus).",
        None,
    ),
    (
        r"max seq len \((?P<wants>\d+)\)[^\n]*larger than the available KV cache memory \((?P<has>[\d.]+ GiB)\)",
        "A context of {wants} tokens needs more memory than the GPU has left ({has}): lower {context}, raise {memory}, "
        "or use more GPUs (gpus).",
        None,
    ),
    (
        r"max_model_len \((?P<wants>\d+)\) is greater than the derived max_model_len \([^)]*?=(?P<most>\d+)",
        "The model was made for at most {most} tokens: lower {context} ({wants}) to that.",
        None,
    ),
    (
        r"Free memory on device\s*(?:\w+(?::\d+)?)?\s*\((?P<free>[\d.]+)/(?P<all>[\d.]+) GiB\)[^\n]*?"
        r"less than desired GPU memory utilization \([\d.]+, (?P<wants>[\d.]+) GiB\)",
        "Only {free} of {all} GiB of the GPU's memory are free, and {title} wants {wants}: end what else uses the GPU, "
        "or set {memory} to {share} or less.",
        _share,
    ),
    (
        r"No available memory for the cache blocks|Not enough memory\. Please try to increase --mem-fraction-static",
        "The model leaves no memory of the GPU for the KV cache: raise {memory}, lower {context}, give a replica more "
        "GPUs (gpus), or choose a smaller or quantized model.",
        None,
    ),
    (
        r"(?:cpu_buffer_type_alloc_buffer|CPU\w*|host)[^\n]*: failed to allocate buffer of size (?P<one>\d+)"
        r"|DefaultCPUAllocator: (?:can't|not enough)|std::bad_alloc"
        r"|\[Errno 12\] Cannot allocate memory|(?m:^)MemoryError",
        "The memory of the node{size} is too small: lower {context} or slots, or use a node with more memory.",
        _asked,
    ),
    (
        r"(?:CUDA|HIP|XPU) out of memory\.[^\n]*?total capacit?y of (?P<one>[\d.]+ [GM]iB)"
        r"|(?:CUDA|HIP|XPU) out of memory|(?:CUDA|HIP) error: out of memory|(?:cuda|hip)Malloc failed: out of memory"
        r"|unable to allocate \w+ buffer|failed to allocate (?:buffer for (?:the )?kv cache|compute \w+ buffers)",
        "The memory of the GPU{size} is too small: {smaller}.",
        _size,
    ),
    (
        PORT_TAKEN.pattern,
        "Another program on the node uses {port}: start the run again, which takes another port, or end that program.",
        _port,
    ),
    (
        r"unrecognized arguments: (?P<one>-*[\w.-]+)|error: invalid argument: (?P<two>\S+)"
        r"|Unknown engine argument: (?P<three>\S+)"
        r"|(?:EngineArgs|ServerArgs)\S* got an unexpected keyword argument '(?P<four>\w+)'"
        r"|error: xllamacpp does not take (?P<five>\S+)",
        "{title} does not know the argument {name}: {advice}.",
        _argument,
    ),
    (
        r"error: argument (?:-\w/)?(?P<name>-[\w-]+)\S*: (?P<why>[^\n]{1,120})"
        r"|error while handling argument \"(?P<flag>[^\"]+)\": (?P<what>[^\n]{1,120})"
        r"|error: invalid value for argument (?P<given>-[\w-]+): (?P<bad>[^\n]{1,120})",
        "{title} does not accept the value of {name}: {why}{what}{bad}; correct it in engine_args.",
        lambda values, _: {"name": values["flag"] or values["given"] or values["name"]},
    ),
    (
        r"Model architectures \[(?P<one>[^\]]+)\] (?:are not supported|failed to be inspected)"
        r"|unknown model architecture: '(?P<two>[^']+)'|(?P<three>\w+) has no (?:SGLang|SGlang|vLLM) implementation"
        r"|model type [`'](?P<four>[\w.-]+)[`'] but Transformers does not recognize",
        "This version of {title} does not support the architecture of the model ({name}): install a newer version on "
        "the nodes that serve it, or choose another model.",
        lambda values, _: {"name": values["name"].replace("'", "")},
    ),
    (
        r"attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size \((?P<gpus>\d+)\)",
        "The model has {heads} attention heads, which {gpus} GPUs cannot share: set gpus to one of {fitting}.",
        _divisors,
    ),
    (
        r"trust_remote_code=True|--trust-remote-code",
        "The model comes with Python code of its own: set engine_args.trust_remote_code to true if you trust its "
        "makers.",
        None,
    ),
    (
        r"invalid magic (?:characters|number)|GGUFv1 is no longer supported",
        "The file of the model is no GGUF file, or one of an old form: give a current .gguf file as model.",
        None,
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "The disk of the node is full: free some space, or set HF_HOME to a folder on a larger disk.",
        None,
    ),
    (
        r"NCCL error|nccl(?:System|UnhandledCuda|Internal|Remote)Error",
        "The GPUs of a replica do not reach each other (NCCL): set NCCL_DEBUG=INFO on the node to see why, or set gpus "
        "to 1.",
        None,
    ),
    (
        r"(?m:^)(?:ModuleNotFoundError|ImportError): No module named '(?P<one>[\w.]+)'"
        r"|: No module named (?P<two>[\w.]+)(?m:$)",
        "The Python package {package} is missing on the node that serves the model: {remedy}.",
        _package,
    ),
    (
        r"(?m:^)ImportError: (?P<one>lib[\w+.-]+): cannot open shared object|(?m:^)ImportError: [^\n]*undefined symbol",
        "{title} and its libraries on the node do not fit together{library}: install it into an environment of its "
        "own, in the build for the node's CUDA.",
        _library,
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device"
        r"|libcuda\.so\.1: cannot open|Device string must not be empty|Torch not compiled with CUDA enabled",
        "{title} finds no GPU on the node: check nvidia-smi there, or that the container is given its GPUs.",
        None,
    ),
    (
        r"[Ee]xit ?code:? -9\b|died with <Signals\.SIGKILL|was killed by signal 9|terminated by signal SIGKILL",
        "The system killed a process of {title}, most often because the node has too little memory: use a node with "
        "more memory.",
        None,
    ),
    (
        r"error loading model: (?P<one>[^\n]{3,160}[^\n.])",
        "{title} cannot load the model: {name}; check that its file is complete.",
        None,
    ),
)
FAULT_PATTERNS: tuple[FaultPattern, ...] = tuple(
    FaultPattern(re.compile(pattern), sentence, derive) for pattern, sentence, derive in _TABLE
)
"""All known faults, the most specific first."""
