"""KEDA itself: CRDs, parts, certificates, ScaledJobs and their Jobs."""

from __future__ import annotations

from prompt_keda.clients.systems import Systems
from prompt_keda.components.keda.certificates import certificates_agree
from prompt_keda.components.keda.metrics import nothing_errors, ready_is_fresh
from prompt_keda.components.keda.parts import (
    crds_established,
    crds_of_version,
    lease_fresh,
    one_version,
    only_one,
    parts_not_restarting,
    parts_ready,
)
from prompt_keda.components.scaled_jobs.jobs import (
    jobs_are_counted,
    jobs_carry_their_generation,
    jobs_do_not_fail,
    no_job_has_a_limit,
    rollout_keeps_jobs,
)
from prompt_keda.components.scaled_jobs.schemas import scaled_jobs_valid, scaled_jobs_valid_for_redeploy
from prompt_keda.components.scaled_jobs.specs import (
    finalizers_not_stuck,
    history_limits_sensible,
    no_max_run_time,
    none_paused,
    scaled_jobs_present,
    scaled_jobs_ready,
    sizes_as_named,
    triggers_activate,
    triggers_scale_on_lag,
    triggers_sensible,
)
from prompt_keda.core.check import Check

API = "cluster/api-answers"
_CRDS, _THERE = "keda/crds-established", "keda/scaled-jobs-present"
_LEASE, _PARTS = "keda/lease-fresh", "keda/parts-ready"
CHECKS: tuple[Check[Systems], ...] = (
    Check(_CRDS, "KEDA's CRDs are served", crds_established, (API,), runbook="keda-gone"),
    Check(_PARTS, "every part of KEDA is ready", parts_ready, (API,), runbook="keda-gone"),
    Check("keda/one-version", "every part has the environment's version", one_version, (API,), runbook="keda-gone"),
    Check(_LEASE, "the operator renews its Lease", lease_fresh, (API,), runbook="keda-gone"),
    Check(
        "keda/certificates-agree",
        "KEDA's certificates are trusted",
        certificates_agree,
        (API,),
        runbook="certificates-wrong",
    ),
    Check(_THERE, "every ScaledJob is there", scaled_jobs_present, (_CRDS,), runbook="scaled-job-wrong"),
    Check(
        "keda/scaled-jobs-ready",
        "every ScaledJob is Ready",
        scaled_jobs_ready,
        (_THERE, _LEASE, "redis/info-allowed"),
        runbook="keda-does-not-scale",
    ),
    Check("keda/none-paused", "no ScaledJob is paused", none_paused, (_THERE,), runbook="keda-paused"),
    Check(
        "keda/no-max-run-time",
        "no ScaledJob has a maximum run time",
        no_max_run_time,
        (_THERE,),
        runbook="scaled-job-wrong",
    ),
    Check(
        "keda/jobs-carry-their-generation",
        "no running Job is at risk from KEDA's restart",
        jobs_carry_their_generation,
        (_THERE,),
        runbook="jobs-at-risk",
    ),
    Check(
        "keda/triggers-scale-on-lag",
        "every trigger counts lag",
        triggers_scale_on_lag,
        (_THERE,),
        runbook="scaled-job-wrong",
    ),
    Check(
        "keda/sizes-as-named",
        "every ScaledJob has the sizes that are named",
        sizes_as_named,
        (_THERE,),
        runbook="scaled-job-wrong",
    ),
    Check(
        "keda/triggers-sensible",
        "every trigger reads the right stream",
        triggers_sensible,
        (_THERE,),
        runbook="scaled-job-wrong",
    ),
    Check(
        "keda/triggers-activate", "every trigger can begin", triggers_activate, (_THERE,), runbook="scaled-job-wrong"
    ),
    Check(
        "keda/history-limits-sensible",
        "finished Jobs are kept",
        history_limits_sensible,
        (_THERE,),
        runbook="scaled-job-wrong",
    ),
    Check(
        "keda/scaled-jobs-valid",
        "every ScaledJob is valid for the KEDA that stands",
        scaled_jobs_valid,
        (_THERE,),
        runbook="scaled-job-wrong",
    ),
    Check(
        "keda/scaled-jobs-valid-for-redeploy",
        "every ScaledJob is valid for the KEDA that a redeploy installs",
        scaled_jobs_valid_for_redeploy,
        (_THERE,),
        runbook="scaled-job-wrong",
    ),
    Check(
        "keda/finalizers-not-stuck",
        "no ScaledJob hangs in its deletion",
        finalizers_not_stuck,
        (_THERE,),
        runbook="namespace-stuck",
    ),
    Check(
        "keda/crds-of-version",
        "the CRDs have the environment's version",
        crds_of_version,
        (_CRDS,),
        runbook="keda-gone",
    ),
    Check("keda/parts-not-restarting", "KEDA's parts stay up", parts_not_restarting, (API,), runbook="keda-gone"),
    Check("keda/only-one", "there is one KEDA only", only_one, (API,), runbook="two-kedas"),
    Check(
        "keda/ready-is-fresh",
        "the operator works every ScaledJob",
        ready_is_fresh,
        (_THERE, _LEASE, _PARTS, "keda/scaled-jobs-ready"),
        runbook="keda-does-not-scale",
    ),
    Check(
        "keda/nothing-errors",
        "KEDA counts no new errors",
        nothing_errors,
        (_THERE, _LEASE, _PARTS, "keda/scaled-jobs-ready"),
        runbook="keda-does-not-scale",
    ),
    Check(
        "keda/rollout-keeps-jobs",
        "no sync would delete running Jobs",
        rollout_keeps_jobs,
        (_THERE,),
        runbook="jobs-at-risk",
    ),
    Check("keda/jobs-are-counted", "KEDA counts every running Job", jobs_are_counted, (API,), runbook="jobs-at-risk"),
    Check(
        "keda/no-job-has-a-limit",
        "no running Job has a maximum run time",
        no_job_has_a_limit,
        (API,),
        runbook="jobs-at-risk",
    ),
    Check(
        "keda/jobs-do-not-fail",
        "the newest Jobs succeed",
        jobs_do_not_fail,
        (API, "redis/answers", "redis/groups-exist"),
        runbook="workers-fail",
    ),
)
