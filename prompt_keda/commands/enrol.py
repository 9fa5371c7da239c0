"""enrol: a rebuilt cluster's new identity, recorded in its environment's file."""

from __future__ import annotations

from prompt_keda.commands.session import Session
from prompt_keda.core.event import Observer
from prompt_keda.core.places import incidents_folder
from prompt_keda.records.incident import Incident
from prompt_keda.redeploy import enrol as enrolment
from prompt_keda.redeploy.approval import Ask
from prompt_keda.report.result import Result


def enrol(session: Session, approve: str, observer: Observer, ask: Ask | None) -> Result[enrolment.Enrolled]:
    """Record a rebuilt cluster's new identity in the environment's file, once a person has seen old and new. Idempotent: yes.

    Raises as `prompt_keda.redeploy.enrol.enrol` does.
    """
    enrolled = enrolment.enrol(session.systems, session.file, approve, observer, ask)
    incident = Incident.find_open(incidents_folder(), session.environment)
    if enrolled.written and incident:
        incident.goes_on_at(enrolled.new["kube_system_uid"])
    return Result("enrol", session.environment.name, session.header(), enrolled)
