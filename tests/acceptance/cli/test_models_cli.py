"""`darkroom models list | route`: the dry run, the confirmation, and the way back."""

from __future__ import annotations

import getpass

from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, text_to_image

MODEL, ROUTE = "gpt-4o-image", "4o-image-api"
MOVE = ("models", "route", MODEL, "--via", ROUTE)


async def test_a_route_is_tried_confirmed_shown_and_taken_back(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    for request in (text_to_image(), text_to_image(), text_to_image(quantity=2)):
        await deployment.producer.enqueue(request, account_id="acme")
    dry, unsure, listed = await darkroom.run_all(
        (*MOVE, "--dry-run"), MOVE, ("models", "list", "--json")
    )
    means = (
        "gpt-4o-image is sent by 4o-image-api: 2 queued jobs can go, 1 job cannot and wait"
        " (quantity 1), which hold 7 credits"
    )
    assert (dry.code, dry.out.strip()) == (0, means)
    assert (unsure.code, unsure.out) == (1, "")
    assert means in unsure.err
    assert "--yes" in unsure.err
    (before,) = [one for one in listed.objects if one["model"] == MODEL]
    assert (before["via"], before["routes"], before["since"]) == (MODEL, [ROUTE], None)

    moved = await darkroom.run(*MOVE, "--reason", "it answers 404", "--yes", "--json")
    assert moved.code == 0, moved.err
    told = moved.object
    assert (told["via"], told["reason"], told["routed_by"]) == (
        ROUTE,
        "it answers 404",
        getpass.getuser(),
    )
    assert told["queued"] == {
        "carried": 2,
        "waiting": 1,
        "waiting_by_field": {"quantity": 1},
        "waiting_credits": 7,
    }
    table, refused = await darkroom.run_all(
        ("models", "list"),
        (
            *("enqueue", "--account", "acme", "--prompt", "x", "--aspect-ratio", "1:1"),
            *("--quantity", "4"),
        ),
    )
    assert "it answers 404" in table.out
    assert refused.code == 1
    assert "place 4 jobs of quantity 1" in refused.err
    back = await darkroom.run("models", "route", MODEL, "--direct", "--yes")
    assert back.code == 0, back.err
    assert "is sent by its own family: 3 queued jobs can go" in back.out


async def test_a_route_that_cannot_be_is_refused_with_what_is_there(darkroom: Darkroom) -> None:
    unknown, wrong, both, neither = await darkroom.run_all(
        ("models", "route", "gpt-5o", "--via", ROUTE, "--yes"),
        ("models", "route", MODEL, "--via", "dall-e", "--yes"),
        (*MOVE, "--direct", "--yes"),
        ("models", "route", MODEL, "--yes"),
    )
    assert (unknown.code, wrong.code, both.code, neither.code) == (3, 1, 2, 2)
    assert "there is: " in unknown.err
    assert f"allowed: {ROUTE}, {MODEL}" in wrong.err
    assert "--direct" in both.err
