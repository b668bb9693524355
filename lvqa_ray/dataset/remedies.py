"""The remedy for each kind of failure, in one phrase."""

from __future__ import annotations

from collections.abc import Mapping

_FILE = "replace the file, then run again"
_RUN = "run again, or `lvqa retry`"
_ASK = "`lvqa retry --kind {kind}` requests it again; else try another model or ask.prompt"
_STOP = "correct the endpoint's account or URL, then run again"

MENDS: Mapping[str, str] = {
    # The video
    "missing_file": "restore the file or correct its path, then run again",
    "empty_file": _FILE,
    "unreadable": "correct the file or its permissions, then run again",
    "not_a_video": "replace the file, or leave it out",
    "no_video_stream": "leave it out: it has only audio",
    "no_frames": _FILE,
    "no_duration": "remux it (ffmpeg -i IN -c copy OUT), then run again",
    "bad_dimensions": "re-encode it, then run again",
    "truncated": "a file: download it again, or set probe.truncated=keep; a reply: raise max_tokens",
    "encrypted": "use a copy without DRM, or leave it out",
    "no_clips": "relax the settings of split (min_seconds, start_remove_seconds, end_remove_seconds)",
    "too_many_clips": "raise split.max_clips if it really is that long; otherwise remux it (ffmpeg -i IN -c copy OUT)",
    "damaged": "download the file again, or set probe.damaged=keep and probe.max_lost_share",
    "bad_subtitles": "correct or remove the subtitles, then `lvqa retry --kind {kind}`; or set speech.broken=skip",
    "no_recognizer": "install faster-whisper and its model on every node, then run again",
    "decoder_crashed": "re-encode it; if something else killed the decoder, `lvqa retry --kind {kind}`",
    "decoder_timeout": "re-encode it, or `lvqa retry --kind {kind} --set engine.decode_slowest=...`",
    "decoder_memory": "`lvqa retry --kind {kind} --set engine.decode_memory_gb=...`",
    "all_clips_filtered": "relax the settings of filter",
    "not_written": "free disk space for clip files, then run again",
    # Fetching it
    "too_large": "`lvqa retry --kind {kind} --set engine.scratch_gb=...`",
    "no_room": "free disk space, or set engine.scratch_dir or engine.scratch_gb, then run again",
    "forbidden": "renew the credentials or the signed URL, then run again",
    "not_in_parts": "copy the file to a server that supports range requests",
    "not_fetched": "check that the host is reachable, then run again",
    # The call
    "api_error": _RUN,
    "rate_limited": "lower requests_per_minute or max_concurrency of the endpoint, then run again",
    "no_capacity": "set fallback_after_min or tier=standard for the endpoint, or run again later",
    "overloaded": _RUN,
    "disconnected": _RUN,
    "timed_out": "raise timeout_s of the endpoint, then run again",
    "batch_failed": "read the message; then run again, or set tier=standard for the endpoint",
    "deferred": "run again: the answer arrives with its batch (`lvqa batches`)",
    "malformed_reply": "check what the endpoint sends (column raw), then run again",
    "stopped": _STOP,
    "auth_failed": "set a key that the endpoint accepts, then run again",
    "quota_exceeded": "pay the endpoint's bill or wait for new quota, then run again",
    "request_forbidden": "read the endpoint's message; `lvqa retry --kind {kind}` sends the request again",
    "endpoint_rejects": "read the endpoint's message, correct its settings, then run again",
    "endpoint_down": "check that the endpoint is up, then run again",
    "not_found": "correct base_url or model of the endpoint",
    "budget_spent": "raise engine.max_cost or engine.max_requests, then run again",
    "bad_request": "read the endpoint's message, and correct the job",
    "too_long": "lower sample.count or sample.short_side, or use a model with a longer context",
    "content_filtered": "`lvqa retry --kind {kind}` requests it again; otherwise use another endpoint, or leave it out",
    "refused": "`lvqa retry --kind {kind}` requests it again; otherwise change the prompt",
    "degenerate_reply": "`lvqa retry --kind {kind}` requests it again; else set a temperature or try another model",
    "truncated_reply": "raise max_tokens of the stage or its endpoint",
    # The reply
    "no_question": _ASK,
    "no_options": _ASK,
    "bad_options": _ASK,
    "missing_option": _ASK,
    "empty_option": _ASK,
    "duplicate_option": _ASK,
    "no_answer": _ASK,
    "bad_answer": _ASK,
    "no_reasons": _ASK,
    "bad_step": _ASK,
    "several_questions": _ASK,
    "refusal": _ASK,
    "bad_json": _ASK,
    "no_question_left": "drops/ has the reasons; set the policy of that check to mark, or raise ask.quota",
    "empty_reply": "`lvqa retry --kind {kind}` requests it again; a reasoning model may need a larger max_tokens",
    "bad_tree": "`lvqa retry --kind {kind}` requests it again; else try another model or analysis.mind_map.prompt",
    "empty_captions": "`lvqa retry --kind {kind}` requests the captions again; or lower merge.min_captioned",
    # Ourselves
    "worker_crashed": "`lvqa retry --kind {kind}`; if that fails too, re-encode the file",
    "internal_error": "a bug in lvqa-ray: report it with the worker's log, then `lvqa retry --kind {kind}`",
}
"""Remedy by kind."""


def mend(kind: str) -> str:
    """The remedy for a kind of failure."""
    return MENDS.get(kind, "see the message").format(kind=kind)
