"""What to do about each kind of failure, in one phrase."""

from __future__ import annotations

from collections.abc import Mapping

_FILE = "replace the file, and run again"
_RUN = "run again, or `lvqa retry`"
_ASK = "`lvqa retry --kind {kind}` asks anew; if it stays, try another model or ask.prompt"
_STOP = "mend the endpoint's account or address, and run again"

MENDS: Mapping[str, str] = {
    # The video
    "missing_file": "put the file there or correct its path, and run again",
    "empty_file": _FILE,
    "unreadable": "mend the file or its permissions, and run again",
    "not_a_video": "leave it out, or replace the file",
    "no_video_stream": "leave it out: it has sound only",
    "no_frames": _FILE,
    "no_duration": "remux it (ffmpeg -i IN -c copy OUT), and run again",
    "bad_dimensions": "re-encode it, and run again",
    "truncated": "of a file: fetch it again, or set probe.truncated=keep; of a reply: raise max_tokens",
    "encrypted": "get a copy without protection, or leave it out",
    "no_clips": "widen the settings of split",
    "too_many_clips": "raise split.max_clips if it really is so long; else remux it (ffmpeg -i IN -c copy OUT)",
    "damaged": "fetch the file again, or set probe.damaged=keep and probe.max_lost_share",
    "bad_subtitles": "mend the subtitles or move them away, then `lvqa retry --kind {kind}`; or set speech.broken=skip",
    "no_recognizer": "put faster-whisper and its model on every node, and run again",
    "decoder_crashed": "re-encode it; if the decoder was killed from outside, `lvqa retry --kind {kind}`",
    "decoder_timeout": "re-encode it, or `lvqa retry --kind {kind} --set engine.decode_slowest=...`",
    "decoder_memory": "`lvqa retry --kind {kind} --set engine.decode_memory_gb=...`",
    "all_clips_filtered": "widen the settings of filter",
    "not_written": "make room for clip files, and run again",
    # Fetching it
    "too_large": "`lvqa retry --kind {kind} --set engine.scratch_gb=...`",
    "no_room": "set engine.scratch_dir or engine.scratch_gb, and run again",
    "forbidden": "renew the credentials or the signature, and run again",
    "not_in_parts": "copy the file to a server that gives parts of files",
    "not_fetched": "see whether the host can be reached, and run again",
    # The call
    "api_error": _RUN,
    "rate_limited": "lower requests_per_minute or max_concurrency of the endpoint, and run again",
    "overloaded": _RUN,
    "disconnected": _RUN,
    "timed_out": "raise timeout_s of the endpoint, and run again",
    "malformed_reply": "see what the endpoint sends (raw), and run again",
    "stopped": _STOP,
    "auth_failed": "set a key that the endpoint accepts, and run again",
    "quota_exceeded": "pay the endpoint's bill or wait, and run again",
    "request_forbidden": "see what the endpoint says (message); `lvqa retry --kind {kind}` asks anew",
    "endpoint_rejects": "see what the endpoint says (message), correct its settings, and run again",
    "endpoint_down": "see whether the endpoint is up, and run again",
    "not_found": "correct base_url or model of the endpoint",
    "budget_spent": "raise engine.max_cost or engine.max_requests, and run again",
    "bad_request": "see what the endpoint says (message), and mend the job",
    "too_long": "lower sample.count or sample.short_side, or name a model with a longer context",
    "content_filtered": "`lvqa retry --kind {kind}` asks anew; else leave it out, or name another endpoint",
    "refused": "`lvqa retry --kind {kind}` asks anew; else change the prompt",
    "degenerate_reply": "`lvqa retry --kind {kind}` asks anew; if it stays, set a temperature or try another model",
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
    "no_question_left": "see drops/ for the reasons; set the policy of that check to mark, or ask for more questions",
    "empty_reply": "`lvqa retry --kind {kind}` asks anew; a model that thinks may need a larger max_tokens",
    "bad_tree": "`lvqa retry --kind {kind}` asks anew; if it stays, try another model or analysis.mind_map.prompt",
    "empty_captions": "`lvqa retry --kind {kind}` asks anew; or lower merge.min_captioned",
    # Ourselves
    "worker_crashed": "`lvqa retry --kind {kind}`; if it stays, re-encode the file",
    "internal_error": "a defect of ours: report it with the worker's log; then `lvqa retry --kind {kind}`",
}
"""By kind."""


def mend(kind: str) -> str:
    """What to do about a kind of failure."""
    return MENDS.get(kind, "see the message").format(kind=kind)
