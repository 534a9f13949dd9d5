"""Are the ten nearest vectors enough? What most tutorials build."""

from carmenta_lab.context.policy import Policy, Share

POLICY = Policy(
    strategy="vector_exact",
    k=10,
    tiers=(),
    deduplicate=False,
    profile=Share(0.0, 0.0),
    conversation=Share(0.0, 0.0),
    retrieved=Share(1.0, 1.0),
    memories=0.0,
    passages=0.0,
)
