"""What does the model see? Policies, token counting and assembly under a budget.

with database.user_session(query.user_id) as session:
    context = assemble(session, query, budget_tokens=2_000)
context.as_messages()     # for any chat client
print(context.explain())  # every block and everything left out, with the reason
"""

from carmenta_lab.context.assemble import assemble, gather
from carmenta_lab.context.counter import BundledCounter, Counter, TiktokenCounter, load_counter
from carmenta_lab.context.packing import pack
from carmenta_lab.context.policy import Policy, Share, Tier
from carmenta_lab.context.value import Block, Context, Dropped

__all__ = [
    "Block",
    "BundledCounter",
    "Context",
    "Counter",
    "Dropped",
    "Policy",
    "Share",
    "Tier",
    "TiktokenCounter",
    "assemble",
    "gather",
    "load_counter",
    "pack",
]
