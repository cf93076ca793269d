"""Jobs of `Prefer: respond-async`, in memory: state, then the answer or the problem, then nothing."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service.core import Answer
from service.problems import Problem, ProblemRaised, Refusal
from service.schemas import JobDescription, JobState


@dataclass(eq=False, repr=False)
class Job:
    """One job; changed on the event loop only."""

    id: str
    created_at: datetime
    state: JobState = "queued"
    finished_at: datetime | None = None
    forget_at: float | None = None
    answer: Answer | None = None
    problem: Problem | None = None
    task: "asyncio.Task[None] | None" = None

    def description(self, ttl_s: float) -> JobDescription:
        """What GET /jobs/{id} tells."""
        return JobDescription(
            id=self.id,
            state=self.state,
            created_at=self.created_at,
            finished_at=self.finished_at,
            expires_at=None if self.finished_at is None else self.finished_at + timedelta(seconds=ttl_s),
            result=f"/jobs/{self.id}/result" if self.state == "succeeded" else None,
            problem=None if self.problem is None else self.problem.body(self.id),
        )


class JobStore:
    """At most `capacity` jobs; a finished one is forgotten after `ttl_s`, or earlier where a new one needs its room."""

    def __init__(self, *, capacity: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self.ttl_s = ttl_s
        self._clock = clock
        self._jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def check_open(self) -> None:
        """Make room for one more job, before a body is read for it.

        Raises:
            Refusal: 'switched-off', or 'queue-full' if every remembered job is still unfinished.
        """
        if self._capacity == 0:
            raise Refusal("switched-off", "jobs are switched off; send the request without 'Prefer: respond-async'.")
        self.forget_expired()
        if len(self._jobs) >= self._capacity:
            finished = [job for job in self._jobs.values() if job.forget_at is not None]
            if not finished:
                raise Refusal("queue-full", f"{self._capacity} jobs are unfinished, which is the limit.")
            del self._jobs[min(finished, key=lambda job: job.forget_at or 0.0).id]

    def open(self) -> Job:
        """A new job; Refusal as in `check_open`."""
        self.check_open()
        job = Job(str(uuid.uuid4()), datetime.now(UTC))
        self._jobs[job.id] = job
        return job

    def get(self, job_id: str) -> Job:
        """The job; Refusal 'job-not-found' if there is none or its time is over."""
        self.forget_expired()
        if job_id not in self._jobs:
            raise Refusal("job-not-found", "there is no such job, or its time is over.")
        return self._jobs[job_id]

    def finish(self, job: Job, *, answer: Answer | None = None, problem: Problem | None = None) -> None:
        """Keep the outcome of a job, unless it was cancelled meanwhile."""
        if job.state == "cancelled":
            return
        job.answer, job.problem = answer, problem
        job.state = "succeeded" if answer is not None else "failed"
        self._stamp(job)

    def cancel(self, job_id: str) -> None:
        """Stop a job that waits, throw away the result of one that runs, forget one that has ended."""
        job = self.get(job_id)
        if job.finished_at is not None:
            del self._jobs[job_id]
            return
        if job.task is not None:
            job.task.cancel()
        job.state = "cancelled"
        self._stamp(job)

    def result(self, job_id: str) -> Answer:
        """The answer.

        Raises:
            Refusal: 'job-not-found', 'job-not-finished' with Retry-After, or 'job-cancelled'.
            ProblemRaised: The job failed; its problem is the answer.
        """
        job = self.get(job_id)
        if job.state == "cancelled":
            raise Refusal("job-cancelled", "the job was cancelled.")
        if job.problem is not None:
            raise ProblemRaised(job.problem)
        if job.answer is None:
            raise Refusal("job-not-finished", f"the job is {job.state}.", headers={"Retry-After": "1"})
        return job.answer

    def forget_expired(self) -> None:
        """Let go of every job whose time is over."""
        now = self._clock()
        for job_id in [j.id for j in self._jobs.values() if j.forget_at is not None and j.forget_at <= now]:
            del self._jobs[job_id]

    def _stamp(self, job: Job) -> None:
        job.finished_at = datetime.now(UTC)
        job.forget_at = self._clock() + self.ttl_s
