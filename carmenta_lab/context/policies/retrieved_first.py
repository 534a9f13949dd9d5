"""Is most of the budget best spent on the turns that a search finds, with four messages to say where we are?"""

from carmenta_lab.context.policy import Policy, Share, Tier

POLICY = Policy(
    strategy="hybrid_rrf",
    k=400,
    tiers=(Tier(4),),
    profile=Share(0.0, 0.1),
    conversation=Share(0.0, 0.1),
    retrieved=Share(0.8, 1.0),
    memories=0.0,
    passages=0.0,
    budget_tokens=4_000,
)
