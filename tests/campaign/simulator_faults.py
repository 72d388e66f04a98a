"""The faults and latencies of the simulated Kie in a campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.campaign.campaign_options import CampaignOptions

USUAL = {
    "lost_reply": "0.01",
    "submit_code": "455",
    "submit_code_rate": "0.005",
    "generate_failed_rate": "0.02",
    "poll_code": "500",
    "poll_code_rate": "0.02",
    "poll_drop": "0.01",
    "poll_reset": "0.005",
    "callback_duplicates": "1",
    "callback_early": "0.05",
    "callback_forged": "0.05",
    "callback_forged_kind": "all",
    "error_form": "mixed",
}
HARSH = {**USUAL, "lost_reply": "0.15", "callback_early": "0.5", "callback_forged": "1"}


def list_simulator_faults(options: CampaignOptions) -> Mapping[str, str]:
    """Return the fault switches of the simulated Kie."""
    return HARSH if options.fault_level == "harsh" else USUAL


def simulator_arguments(options: CampaignOptions) -> Sequence[str]:
    """Return the command line arguments of the simulator."""
    arguments = ["--seed", str(options.seed), "--creates-per-10-seconds", "0"]
    arguments += ["--create-latency", "0.4", "--poll-latency", f"{options.poll_latency_seconds:g}"]
    arguments += ["--latency-jitter", "0.5", "--duration", f"{options.task_seconds:g}"]
    arguments += ["--request-log", "5000000"]
    for name, value in list_simulator_faults(options).items():
        arguments += ["--fault", f"{name}={value}"]
    return arguments
