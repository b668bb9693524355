"""Collector of the questions written about one video, over all batches."""

from __future__ import annotations

from dataclasses import dataclass, field

from lvqa_ray.qa.best_reply import BestReply
from lvqa_ray.qa.question_plan import attributed, unrequested
from lvqa_ray.records import AskedQuestion, Drop, Failure, Usage, Video


@dataclass
class CollectedQuestions:
    """The questions and drops so far. The id of a question has its index in the plan.

    Attributes:
        plan: The categories of all requested questions.
        video: The video.
        calls: Number of replies.
        note: Remarks for the records.
        last: The last batch.
    """

    plan: tuple[str, ...]
    video: Video
    questions: list[AskedQuestion] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    calls: int = 0
    note: str = ""
    last: BestReply | None = None

    def take(self, start: int, batch: BestReply) -> None:
        """Add a batch whose first question has the index `start` in the plan."""
        self.usage += batch.usage
        self.calls += batch.calls
        self.last = batch
        readings = batch.filled()
        wanted = self.plan[start : start + batch.count]
        stated = [reading.category for reading in readings]
        if strange := unrequested(stated, self.plan):
            remark = f"the reply called questions {', '.join(strange)}, which was not requested"
            self.note = "; ".join(filter(None, (self.note, remark)))
        categories = attributed(wanted, stated, self.plan)
        for index, (reading, category, requested) in enumerate(zip(readings, categories, wanted, strict=True), start):
            row_id = f"{self.video.id}_q{index}"
            if reading.question is not None:
                self.questions.append(
                    AskedQuestion(
                        id=row_id,
                        category=category,
                        question=reading.question,
                        reasoning=reading.text,
                        requested=requested,
                    )
                )
                continue
            kind, reason = (reading.error.kind, str(reading.error)) if reading.error else (batch.kind, batch.problem)
            self.drops.append(
                Drop(
                    id=row_id,
                    category=category,
                    check="ask",
                    kind=kind,
                    reason=reason,
                    raw=reading.text,
                    requested=requested,
                )
            )

    def failure(self, stage: str) -> Failure:
        """Failure of a video without any usable question."""
        batch = self.last or BestReply(0)
        return Failure(
            video=self.video,
            stage=stage,
            kind=batch.kind,
            message=f"no usable question in {self.calls} replies; the last: {batch.problem}",
            attempts=self.calls,
            raw=batch.raw,
            usage=self.usage,
            requested=self.plan,
        )
