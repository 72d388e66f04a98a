"""Evidence of a few jobs, as a campaign collects it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from producer.doctor import Finding
from tests.campaign.campaign_evidence import Capture, Evidence, JobRow, Price, Record, Tables, Task
from tests.campaign.campaign_invariants import count_zeros
from tests.campaign.campaign_options import CampaignOptions
from tests.campaign.campaign_orders import (
    count_orders,
    grants,
    is_short,
    is_told,
    key_of,
    number_of,
)
from tests.campaign.webhook_recorder import Webhook
from worker.webhooks.webhook_signature import webhook_signature

OPTIONS = CampaignOptions(jobs=3, kills=7, seed=1)
ENDED_EPOCH = 1_000.0
SECRET = "whsec_c2VjcmV0"
PRICES = {
    1: Price("gpt-4o-image", "text-to-image", 1, "", Decimal(6), 0.0, 900.0),
    2: Price("gpt-4o-image", "text-to-image", 1, "", Decimal(9), 900.0, float("inf")),
    3: Price("gpt-4o-image", "text-to-image", 1, "2K", Decimal(9), 900.0, float("inf")),
}


def succeeded(number: int, charged: int = 9) -> JobRow:
    """A job that ended well, charged so much."""
    return JobRow(
        id=UUID(int=number + 1),
        key=key_of(number),
        account="harbour",
        state="succeeded",
        reason="",
        prompt=f"order {number}",
        model="gpt-4o-image",
        task="text-to-image",
        quantity=1,
        variant="",
        task_id=f"task-{number}",
        urls=[f"https://kie/task-{number}.png"],
        late_urls=(),
        charged=Decimal(charged),
        created_epoch=0.0,
        finished_epoch=ENDED_EPOCH,
    )


def webhook_of(
    job: JobRow, *, message: str = "msg", state: str = "", event: str = "", secret: str = SECRET
) -> Webhook:
    """A webhook about its end."""
    name, body = f"{message}_{job.id}", b"{}"
    signature = f"v1,older {webhook_signature(secret, name, 7, body)}"
    told = event or f"job.{state or job.state}"
    return Webhook(name, str(job.id), told, state or job.state, 7, signature, body)


def evidence_of(
    jobs: Sequence[JobRow] = (),
    *,
    captures: dict[int, list[Capture]] | None = None,
    refused: Sequence[str] = (),
    overheld: Sequence[UUID] = (),
    claimed_while_paused: Sequence[UUID] = (),
    webhooks: Sequence[Webhook] | None = None,
    lost_tasks: Sequence[Task] = (),
) -> Evidence:
    """Both sides, which agree. Every success is charged by price 2 unless given."""
    jobs = list(jobs) or [succeeded(number) for number in range(count_orders(OPTIONS.jobs))]
    charged = captures if captures is not None else {n: [Capture(Decimal(9), 2)] for n in range(99)}
    spent = sum((job.charged or Decimal(0) for job in jobs), Decimal(0))
    balances = {name: (grant, Decimal(0)) for name, grant in grants(OPTIONS.jobs).items()}
    balances["harbour"] = (balances["harbour"][0] - spent, Decimal(0))
    made = [job for job in jobs if job.state == "succeeded"]
    tables = Tables(
        jobs=jobs,
        attempts=[],
        events={},
        captures={job.id: charged[job.id.int - 1] for job in made},
        prices=PRICES,
        overheld=overheld,
        endpoint_secrets={"harbour": SECRET},
        balances=balances,
        verdicts={},
        findings=[Finding("everything", True, "")],
        claimed_while_paused=claimed_while_paused,
    )
    tasks = [made_task(str(job.task_id), job.prompt) for job in made]
    tasks += lost_tasks
    record = Record({"credits": {"net": 6 * len(tasks)}}, tasks, {})
    if webhooks is None:
        webhooks = [webhook_of(job) for job in jobs if is_told(number_of(job.key))]
    return Evidence(record=record, tables=tables, refused=frozenset(refused), webhooks=webhooks)


def broken(evidence: Evidence, options: CampaignOptions = OPTIONS) -> list[str]:
    """Return which zeros are none."""
    return [zero.what for zero in count_zeros(evidence, options) if not zero.is_kept]


def all_zeros() -> set[str]:
    """Return the names of all zeros."""
    return {zero.what for zero in count_zeros(evidence_of(), OPTIONS)}


def short_number() -> int:
    """Return the number of an order of the short account."""
    return next(number for number in range(100) if is_short(number))


def made_task(task_id: str, prompt: str, *, reply_lost: bool = False) -> Task:
    """A task with one image that ended well."""
    return Task(task_id, prompt, "success", reply_lost, 1, (f"/{task_id}.png",))


def lost_job(number: int, *, late_urls: Sequence[str] = ()) -> JobRow:
    """A job whose submission was lost from sight, with the images that came late."""
    job = replace(succeeded(number), state="failed", reason="submission_lost", late_urls=late_urls)
    return replace(job, charged=None, task_id=None, urls=[])


def cancelled(number: int) -> JobRow:
    """A job that its caller took back."""
    job = replace(succeeded(number), state="cancelled", reason="cancelled_by_caller")
    return replace(job, charged=None, task_id=None, urls=[])
