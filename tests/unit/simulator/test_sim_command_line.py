"""The command line becomes a configuration, or a sentence about what is wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.catalog import list_families
from worker.simulator.command_line import list_faults, read_command_line
from worker.simulator.durations import Durations
from worker.simulator.fault_switch_parser import describe_switches
from worker.simulator.fault_switches import FaultSwitches
from worker.simulator.simulator_config import SimulatorConfig


def test_no_arguments_mean_the_defaults() -> None:
    assert read_command_line([]) == SimulatorConfig()


def test_every_option_reaches_the_configuration() -> None:
    text = (
        "--host 0.0.0.0 --port 9090 --public-url http://sim:9090 --api-key k "
        "--api-key k2 --real-http-status "
        "--duration 2 --sigma 0 --distribution bimodal --duration-scale 0.5 --seed 9 "
        "--create-latency 0 --poll-latency 0.1 --latency-jitter 0 --credits 12.5 "
        "--creates-per-10-seconds 0 --polls-per-second-per-task 0 --request-log 5 "
        "--hmac-key h --callback-timeout 1 --callback-retries 2 --callback-retry-interval 0.5 "
        "--fault lost_reply=0.01 --fault outcome=generate_failed"
    )
    assert read_command_line(text.split()) == SimulatorConfig(
        host="0.0.0.0",
        port=9090,
        public_url="http://sim:9090",
        api_key="k",
        further_api_keys=("k2",),
        starting_credits=Decimal("12.5"),
        creates_per_10_seconds=0,
        polls_per_second_per_task=0,
        create_latency_seconds=0.0,
        poll_latency_seconds=0.1,
        latency_jitter=0.0,
        durations=Durations("bimodal", 2.0, 0.0, 0.5),
        seed=9,
        webhook_hmac_key="h",
        callback_timeout_seconds=1.0,
        callback_retries=2,
        callback_retry_seconds=0.5,
        request_log_size=5,
        faults=FaultSwitches(error_form="status", lost_reply=0.01, outcome="generate_failed"),
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "70000"], "port is 70000"),
        (["--duration", "-1"], "must not be negative"),
        (["--poll-latency", "-1"], "poll_latency_seconds is -1.0"),
        (["--latency-jitter", "2"], "from 0 to 1"),
        (["--api-key", ""], "api_key is empty"),
        (["--api-key", "k", "--api-key", ""], "api_key is empty"),
        (["--api-key", "k", "--api-key", "k"], "api_key is given twice"),
        (["--credits", "many"], "--credits is 'many'"),
        (["--fault", "poll_cod=500"], "did you mean poll_code"),
        (["--distribution", "flat"], "invalid choice"),
    ],
)
def test_what_is_not_allowed_ends_with_2_and_a_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        read_command_line(arguments)
    assert left.value.code == 2
    assert told in capsys.readouterr().err


def test_the_list_of_models_names_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        read_command_line(["--list-models"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert {line.split()[0] for line in shown.splitlines()} == set(list_families())
    assert "1 6, 2 7, 4 8" in shown


def test_the_list_of_faults_names_every_switch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        read_command_line(["--list-faults"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert shown == list_faults()
    assert all(f"{name} = " in shown for name in describe_switches())
