"""Response model of the vendor's RunVideoAnalysis API, built from the document of an analysis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from lvqa_ray.records.timecodes import clock


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class TokenUsage(_Part):
    """Token counts, as reported by the endpoint."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class ResponseShot(_Part):
    """Description of a shot; times in milliseconds."""

    start_time: int
    end_time: int
    text: str


class Caption(_Part):
    """A line of speech; times in milliseconds, and as text for a player."""

    start_time: int
    end_time: int
    start_time_format: str
    end_time_format: str
    text: str


class Told(_Part):
    """The result of a task so far."""

    generate_finished: bool
    text: str
    usage: TokenUsage
    model_id: str | None = None


class Analyzed(Told):
    """The descriptions of all shots so far."""

    video_shot_analysis_results: list[ResponseShot] = Field(default_factory=list)


class Captions(_Part):
    """The speech of the video."""

    generate_finished: bool
    video_captions: list[Caption] = Field(default_factory=list)


class Node(_Part):
    """A node of the mind map."""

    name: str
    child_nodes: list[Node] | None = None


class MindMap(Told):
    """The mind map, as the model wrote it and as a tree."""

    video_mind_mappings: list[Node] = Field(default_factory=list)


class ResponseOutput(_Part):
    """The results so far."""

    video_analysis_result: Analyzed | None = None
    video_caption_result: Captions | None = None
    video_generate_result: Told | None = None
    video_mind_mapping_generate_result: MindMap | None = None
    video_title_generate_result: Told | None = None


class Payload(_Part):
    """The results so far, and their total token usage."""

    output: ResponseOutput = Field(default_factory=ResponseOutput)
    usage: TokenUsage = Field(default_factory=TokenUsage)


class ResponseHeader(_Part):
    """Name and subject of an event, its analysis, and the error if there is one."""

    event: str
    event_info: str = ""
    session_id: str = ""
    task_id: str = ""
    trace_id: str = ""
    error_code: str | None = None
    error_message: str | None = None


class Response(_Part):
    """One server-sent event."""

    header: ResponseHeader
    payload: Payload = Field(default_factory=Payload)
    request_id: str

    @property
    def fields(self) -> dict[str, Any]:
        """The fields as plain values, without the empty ones."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


ShotsAs = Literal["list", "text", "both"]


def payload(document: Mapping[str, Any], shots_as: ShotsAs = "list") -> Payload:
    """Convert the document of an analysis, as far as it is complete.

    Args:
        document: The document.
        shots_as: Whether shots are a list, a text, or both.
    """
    results = {result["task"]: result for result in reversed(document["results"]) if not result["failure"]}
    spent = {STAGES.get(stage, stage): usage for stage, usage in document["spent_by_stage"].items()}
    seen = document["speech"] is not None and (document["clips"]["all_found"] or document["state"] != "running")
    output = ResponseOutput()
    if shots := document["shots"]:
        result = results.get("analysis")
        over = document["state"] != "running" or document["clips"]["looked_at"]
        output.video_analysis_result = Analyzed(
            generate_finished=over,
            text=result["text"] if result and shots_as != "list" else "",
            usage=_usage(spent.get("analysis", {})),
            video_shot_analysis_results=[
                ResponseShot(start_time=shot["start_ms"], end_time=shot["end_ms"], text=shot["text"])
                for shot in (shots if shots_as != "text" else ())
            ],
        )
    if document["speech"] is not None:
        output.video_caption_result = Captions(
            generate_finished=seen, video_captions=[_caption(line) for line in document["speech"]]
        )
    if result := results.get("summary"):
        output.video_generate_result = _result(result, spent)
    if result := results.get("titles"):
        output.video_title_generate_result = _result(result, spent)
    if result := results.get("mind_map"):
        output.video_mind_mapping_generate_result = MindMap(
            **dict(_result(result, spent)), video_mind_mappings=[_node(result["value"])] if result["value"] else []
        )
    return Payload(output=output, usage=_usage(document["spent"]))


STAGES: Mapping[str, str] = {"caption": "analysis"}
"""Stages that are not named like the task whose result they make."""


def _result(result: Mapping[str, Any], spent: Mapping[str, Mapping[str, Any]]) -> Told:
    value = result["value"]
    text = "\n".join(value["titles"]) if result["task"] == "titles" and value else result["text"]
    return Told(
        generate_finished=result["finished"],
        text=text,
        usage=_usage(spent.get(result["task"], {})),
        model_id=result["model"] or None,
    )


def _caption(line: Mapping[str, Any]) -> Caption:
    return Caption(
        start_time=line["start_ms"],
        end_time=line["end_ms"],
        start_time_format=clock(line["start_ms"] / 1000),
        end_time_format=clock(line["end_ms"] / 1000),
        text=line["text"],
    )


MIND_MAP_LEVELS = 3
"""Levels of nodes in the vendor's response models, with the root; its SDK drops deeper ones."""


def _node(node: Mapping[str, Any], levels: int = MIND_MAP_LEVELS) -> Node:
    """A node with its branches; those below the last level are folded into its name."""
    if levels == 1:
        return Node(name=_folded(node))
    children = [_node(child, levels - 1) for child in node.get("children") or ()]
    return Node(name=node["name"], child_nodes=children or None)


def _folded(node: Mapping[str, Any]) -> str:
    children = "; ".join(map(_folded, node.get("children") or ()))
    return f"{node['name']} ({children})" if children else str(node["name"])


def _usage(usage: Mapping[str, Any]) -> TokenUsage:
    tokens = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return TokenUsage(input_tokens=tokens[0], output_tokens=tokens[1], total_tokens=sum(tokens))
