"""Base classes of stages and checks.

A stage is a frozen dataclass: its fields are its configuration, and calling it does the work. It takes one row and
returns 0, 1 or more rows, so one signature covers drop, map and flat-map. It raises no exception for a bad row but
returns a `Failure`, which is a row like any other. Everything else that it needs is passed as an argument.

A video stage is called with a row. A chat stage is awaited with a row and a `Chat`; `Prompted` fills its prompt. A
check has a policy and adds verdicts to the questions of a video. `Check` applies the policy, so a custom check is a
class with a name and a `judge` method.
"""

from lvqa_ray.llm.messages import Chat
from lvqa_ray.stage.checks import (
    CallCheck,
    Check,
    ParsedReply,
    Policy,
    PolicyMixin,
    Repairer,
    RepairResult,
    Sample,
    SeeingCheck,
    yaml_off,
)
from lvqa_ray.stage.cost_meter import CostMeter
from lvqa_ray.stage.prompted import FEWER, ROLES, Prompted, Role, answer, reask

__all__ = [
    "FEWER",
    "ROLES",
    "CallCheck",
    "Chat",
    "Check",
    "CostMeter",
    "ParsedReply",
    "Policy",
    "PolicyMixin",
    "Prompted",
    "RepairResult",
    "Repairer",
    "Role",
    "Sample",
    "SeeingCheck",
    "answer",
    "reask",
    "yaml_off",
]
