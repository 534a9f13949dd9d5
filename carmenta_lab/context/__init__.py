"""What does the model see? Policies, token counting and assembly under a budget.

with database.user_session(query.user_id) as session:
    context = assemble(session, query, budget_tokens=2_000)
context.as_messages()     # for any chat client
print(context.explain())  # every block and everything left out, with the reason
"""

from carmenta_lab.context.assemble import Searches, assemble, best_policy, gather
from carmenta_lab.context.context import Block, Context, Dropped
from carmenta_lab.context.counting import BundledCounter, Counter, TiktokenCounter, TokenCounts, load_counter
from carmenta_lab.context.packing import pack
from carmenta_lab.context.policy import Policy, Share, Tier

__all__ = [
    "Block",
    "BundledCounter",
    "Context",
    "Counter",
    "Dropped",
    "Policy",
    "Searches",
    "Share",
    "Tier",
    "TiktokenCounter",
    "TokenCounts",
    "assemble",
    "best_policy",
    "gather",
    "load_counter",
    "pack",
]
