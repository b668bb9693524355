"""What a stage is.

A stage is a frozen dataclass: its fields are its configuration and its call is its work. It takes one row and gives
0, 1 or more rows, so one shape covers drop, map and flat-map. It never raises for a row: what goes wrong with a row is
a `Failure`, which is a row like any other. What it needs from the world beyond its row, it is handed.

A video stage is called with a row and answers with rows. A chat stage is awaited with a row and a `Chat`, and takes its
prompt handling from `Prompted`. A check looks at the questions of a film, has a policy, and leaves its verdicts on
them: what is done with these is in `Check`, so that a check of one's own is a class with a name and a `judge`.
"""

from lvqa_ray.llm.messages import Chat
from lvqa_ray.stage.checks import CallCheck, Check, ParsedReply, Policy, PolicyMixin, Repairer, RepairResult, yaml_off
from lvqa_ray.stage.cost_meter import CostMeter
from lvqa_ray.stage.prompted import ROLES, Prompted, Role, answer

__all__ = [
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
    "answer",
    "yaml_off",
]
