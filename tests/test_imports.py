"""What processes load: each worker of a run pays for its own imports, so that a heavy one counts many times."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from lvqa_ray.config import Job
from lvqa_ray.pipeline import Spread, build

TYPES_OF_SDK = "openai.types"


def loaded(program: str, names: list[str]) -> list[str]:
    """Those modules that a program has loaded at its end, in a process of its own."""
    told = f"{program}\nimport sys\nprint(*(name for name in {names!r} if name in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("lvqa_ray.engine.run", [TYPES_OF_SDK, "scenedetect", "datasketch", "scipy", "pysubs2"]),
        ("lvqa_ray.engine.ray.chat_actor", [TYPES_OF_SDK, "lvqa_ray.config.job", "av", "cv2"]),
        ("lvqa_ray.engine.ray.rate_limit_actor", ["openai", "aiohttp", "lvqa_ray.config.job", "numpy"]),
        ("lvqa_ray.engine.ray.decode_task", ["openai", "aiohttp", "lvqa_ray.config.job", "lvqa_ray.pipeline"]),
        ("lvqa_ray.cli.commands", ["pydantic", "numpy", "av", "ray", "email.message", "lvqa_ray.records"]),
        ("lvqa_ray.engine.decoding.worker", ["openai", "aiohttp", "ray", "pandas", "lvqa_ray.config.job"]),
    ],
)
def test_a_process_loads_no_more_than_it_uses(module: str, spared: list[str]) -> None:
    assert loaded(f"import {module}", [module, *spared]) == [module]


def test_the_steps_of_a_decoder_load_no_module_about_questions(tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    at = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "api_key_env": None}
    for mode in ("fixed", "scenes"):
        job = Job.of(
            {
                "videos": ["film.mp4"],
                "output": str(tmp_path / "out"),
                "endpoints": {"vlm": at, "llm": at},
                "split": {"mode": mode},
                "cut": {"mode": "copy"},
            }
        )
        made = build(job, spread=Spread(parts=2, least_s=1.0))
        groups = [made.split, made.look, made.expected, *([made.parts.look] if made.parts else [])]
        steps.write_bytes(pickle.dumps(groups))
        program = f"import lvqa_ray.engine.decoding.worker, pickle; pickle.load(open({str(steps)!r}, 'rb'))"
        names = ["lvqa_ray.stages.split", "lvqa_ray.pipeline", "lvqa_ray.qa", "lvqa_ray.stages.ask"]
        assert loaded(program, names) == ["lvqa_ray.stages.split"]


def test_the_sdk_is_whole_for_who_imports_it_later() -> None:
    program = """
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.transport.connection import Connection
Connection(Endpoint(base_url="http://127.0.0.1:1/v1", model="m"))
"""
    client, types = "openai._vendor.httpx_aiohttp", TYPES_OF_SDK
    assert loaded(program, [client, types]) == [client]
    program += "import openai\nassert openai.AsyncOpenAI and openai.types.Completion"
    assert loaded(program, [client, types]) == [client, types]


def test_detectors_are_loaded_where_scenes_are_found() -> None:
    program = "from lvqa_ray.video.scenes.detectors import Detection\nassert Detection().detectors()"
    assert loaded(program, ["scenedetect.detectors"]) == ["scenedetect.detectors"]


@pytest.mark.parametrize(
    "use",
    [
        "from jsonschema import __version__ as it; assert isinstance(it, str)",
        "import jsonschema; assert isinstance(jsonschema.__version__, str)",
        "from jsonschema import RefResolver",
        "import jsonschema.validators",
        "from jsonschema.exceptions import ValidationError; from jsonschema import validate",
        "from jsonschema import *; validate({}, {})",
    ],
)
def test_a_package_of_which_nothing_is_used_at_first_is_whole_later(use: str) -> None:
    program = f"""
import sys, warnings
warnings.simplefilter("ignore")
from lvqa_ray.engine.ray.session.worker_main import UNUSED_AT_START
from lvqa_ray.lazy_package import register
for name in UNUSED_AT_START:
    register(name)
import jsonschema
assert not hasattr(jsonschema, "no_such_name") and not hasattr(jsonschema, "__wrapped__")
assert "jsonschema.validators" not in sys.modules
del jsonschema
{use}
import jsonschema
jsonschema.validate({{}}, {{"type": "object"}})
"""
    assert loaded(program, ["jsonschema.validators"]) == ["jsonschema.validators"]


def test_arrow_makes_arrays_without_pandas_and_still_converts_to_it() -> None:
    program = """
from lvqa_ray.process_start import arrow_without_pandas
arrow_without_pandas()
import pyarrow as pa
rows = pa.Table.from_pylist([{"a": 1.5}, {"a": None}])
"""
    assert loaded(program, ["pyarrow", "pandas"]) == ["pyarrow"]
    program += """
frame = rows.to_pandas()
assert frame["a"].isna().tolist() == [False, True]
assert pa.array(frame["a"]).to_pylist() == [1.5, None]
"""
    assert loaded(program, ["pandas"]) == ["pandas"]


def test_arrow_takes_objects_of_a_pandas_that_is_imported_later() -> None:
    program = """
from lvqa_ray.process_start import arrow_without_pandas
arrow_without_pandas()
arrow_without_pandas()
import sys, pyarrow as pa
assert pa.array([1.5, float("nan")]).null_count == 0 and "pandas" not in sys.modules
import pandas as pd
assert pa.array(pd.Series([1.5, float("nan")])).null_count == 1
assert pa.array(pd.Series(["a", None]).astype("category")).to_pylist() == ["a", None]
assert pa.Table.from_pandas(pd.DataFrame({"a": [1.5, float("nan")]}))["a"].null_count == 1
"""
    assert loaded(program, ["pandas"]) == ["pandas"]


def test_arrow_keeps_a_pandas_that_is_loaded() -> None:
    program = """
import pandas as pd, pyarrow as pa
from lvqa_ray.process_start import arrow_without_pandas
arrow_without_pandas()
assert pa.array(pd.Series([1.5, float("nan")])).to_pylist() == [1.5, None]
"""
    assert loaded(program, ["pandas"]) == ["pandas"]
