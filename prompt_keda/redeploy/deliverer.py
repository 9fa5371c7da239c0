"""Who else delivers keeps still while this run writes, goes on as before at its end, and says whether it agrees."""

from __future__ import annotations

from datetime import timedelta

from prompt_keda.components.run import Context
from prompt_keda.core.plan import Progress, Step


def suspended_inspect(context: Context) -> Progress:
    """Does everybody else keep still?"""
    return context.delivery.suspension(context.run_id)


def suspend(context: Context) -> None:
    """Make everybody else keep still. Idempotent: yes."""
    context.delivery.suspend(context.run_id)


def agreement_inspect(context: Context) -> Progress:
    """Does who else delivers take what stands for right?"""
    return context.delivery.agreement()


def agree(context: Context) -> None:
    """Have it refresh what it compares, or write down for it what stands. Idempotent: yes."""
    context.delivery.agree({"": context.keda_objects, **context.instrument_objects})


def resumed_inspect(context: Context) -> Progress:
    """Does everybody else go on as before?"""
    return context.delivery.resumption(context.run_id)


def resume(context: Context) -> None:
    """Let everybody else go on as before. Idempotent: yes."""
    context.delivery.resume(context.run_id)


SUSPEND: Step[Context] = Step(
    "guard/suspend-delivery",
    "keep who else delivers from syncing meanwhile",
    suspended_inspect,
    suspend,
    deadline=timedelta(seconds=120),
)
"""Before anything is removed: a sync that runs is waited for, and none begins by itself."""
STEPS: tuple[Step[Context], ...] = (
    Step(
        "verify/delivery-agrees",
        "see that who else delivers agrees",
        agreement_inspect,
        agree,
        deadline=timedelta(seconds=90),
    ),
    Step("restore/resume-delivery", "let who else delivers go on as before", resumed_inspect, resume),
)
