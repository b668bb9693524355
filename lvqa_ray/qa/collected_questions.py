"""Collector of the questions written about one video, over all batches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lvqa_ray.errors import ParseFault
from lvqa_ray.qa.best_reply import BestReply
from lvqa_ray.qa.fact_groups import fact_groups
from lvqa_ray.qa.formats.keyed_format import render_keyed
from lvqa_ray.qa.order_questions import order_questions
from lvqa_ray.qa.question_plan import attributed, unrequested
from lvqa_ray.qa.time_labels import located
from lvqa_ray.records import AskedQuestion, CaptionedVideo, Drop, Failure, Usage, Video


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

    @property
    def stems(self) -> list[str]:
        """The questions so far."""
        return [asked.question.question for asked in self.questions]

    def take_order(self, video: CaptionedVideo, start: int, count: int) -> None:
        """Add questions about the order of moments, made from the captions; the rest of `count` are drops."""
        cited = {clip for asked in self.located(video) for step in asked.question.steps for clip in step.clip_ids}
        made = list(order_questions(video, count, cited))
        for index, category in enumerate(self.plan[start : start + count]):
            row_id = f"{self.video.id}_q{start + index}"
            if index < len(made):
                one, text = made[index], render_keyed(made[index])
                asked = AskedQuestion(id=row_id, category=category, question=one, reasoning=text, requested=category)
                self.questions.append(asked)
                continue
            reason = "the captions tell too few moments apart for a question about their order"
            drop = Drop(id=row_id, category=category, check="ask", kind=ParseFault.NO_QUESTION, reason=reason)
            self.drops.append(replace(drop, requested=category))

    def located(self, video: CaptionedVideo) -> tuple[AskedQuestion, ...]:
        """The questions with the clips that they cite, grouped by the facts that they rest on."""
        placed = [replace(asked, question=located(asked.question, video)) for asked in self.questions]
        return tuple(
            replace(asked, group_id=group)
            for asked, group in zip(placed, fact_groups([(one.id, one.question) for one in placed]), strict=True)
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
