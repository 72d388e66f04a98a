"""The check of the simulated timetable by a real worker: the pure part."""

from __future__ import annotations

from bench.polling.poll_simulation import SimulatedTask
from bench.timetable_in_earnest import compare, draw_times


def test_the_worker_is_held_against_kies_advice_on_the_times_that_were_taken() -> None:
    advice, simulated, worker = compare(
        [10.0] * 4, [SimulatedTask(1, 0.5)] * 4, known=[10.0] * 100, seed=1
    )
    # Looks after 2.5, 5.1, 7.7 and 10.3 s, with an answer 0.1 s later.
    assert advice == ("Kie's advice, simulated", "4", "4.00", "0.40", "0.40", "1.00", "1.00")
    assert worker == ("learned, a worker", "4", "1.00", "0.50", "0.50", "0.25", "1.25")
    assert (simulated[0], simulated[1]) == ("learned, simulated", "4")
    assert float(simulated[2]) < 4


def test_what_the_worker_knows_beforehand_is_drawn_anew_for_another_seed() -> None:
    assert draw_times("lognormal", 1, 5) == draw_times("lognormal", 1, 5)
    assert draw_times("lognormal", 1, 5) != draw_times("lognormal", 2, 5)
