"""What is lost when the conversation at hand is left out and the search alone decides?"""

from carmenta_lab.context.policy import Policy, Share

POLICY = Policy(
    strategy="hybrid_rrf",
    k=400,
    tiers=(),
    profile=Share(0.0, 0.0),
    conversation=Share(0.0, 0.0),
    retrieved=Share(1.0, 1.0),
    memories=0.0,
    passages=0.0,
)
